"""Declarations that the compiled modules share: calls, clocks and texts of CPython."""
