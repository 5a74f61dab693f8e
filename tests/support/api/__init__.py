"""Helpers for the tests of the API."""
