"""Latchkey's tests, in the same structure as the packages that they test."""
