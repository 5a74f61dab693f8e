"""The HTTP API: the routes, one module per resource, and the models of requests and responses."""
