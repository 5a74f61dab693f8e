"""Applications and servers for the tests of frameworks."""
