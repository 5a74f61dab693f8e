"""What the tests of credentials are written with."""
