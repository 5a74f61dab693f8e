"""Tests of the client for other APIs."""
