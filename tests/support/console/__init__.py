"""Helpers for the tests of the console."""
