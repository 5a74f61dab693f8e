"""Servers for tests of clients."""
