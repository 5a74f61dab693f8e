"""This module has no names for Python."""
