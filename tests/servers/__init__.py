"""Frameworks and servers, each in real processes."""
