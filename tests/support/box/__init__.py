"""What the tests of several boxes share."""
