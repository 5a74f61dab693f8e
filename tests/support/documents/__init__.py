"""What the tests of the documents are written with: their blocks, and what runs or checks them."""
