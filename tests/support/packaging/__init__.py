"""What the tests of packaging are written with."""
