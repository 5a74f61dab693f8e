"""Tests that start PostgreSQL or a reverse proxy: ``make test-integration``."""
