"""Support for the tests of authentication."""
