"""Support for the tests of the examples."""
