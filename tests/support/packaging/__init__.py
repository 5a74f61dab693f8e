"""Helpers for the tests of packaging."""
