"""Declarations that the compiled modules share: calls, clocks and strings of CPython."""
