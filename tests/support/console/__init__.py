"""What the tests of console are written with."""
