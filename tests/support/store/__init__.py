"""What the tests of store are written with."""
