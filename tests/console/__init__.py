"""The web console: over HTTP against a real service."""
