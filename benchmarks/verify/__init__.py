"""Checks for a reverse proxy: `/verify` by itself, and nginx with and without the question."""
