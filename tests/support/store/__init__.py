"""Support for the tests of the store."""
