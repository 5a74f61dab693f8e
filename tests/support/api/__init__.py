"""What the tests of api are written with."""
