"""Requests as proxies ask them."""
