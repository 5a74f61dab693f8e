"""The HTTP API: its routes, one file a resource, and the shapes of what they take and give."""
