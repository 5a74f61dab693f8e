"""Helpers for the tests of the documents: finding, running and checking their blocks."""
