"""Tests of the web console, over HTTP against a real service."""
