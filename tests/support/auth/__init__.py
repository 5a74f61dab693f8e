"""What the tests of auth are written with."""
