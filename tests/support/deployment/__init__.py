"""Starts deploy/compose.yaml without a container engine, in namespaces of Linux."""
