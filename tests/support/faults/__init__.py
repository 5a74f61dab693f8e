"""Support for the tests of faults."""
