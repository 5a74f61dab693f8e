"""What the tests of browser are written with."""
