"""Support for the tests of the credentials."""
