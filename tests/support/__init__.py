"""Helpers for the tests: servers, clients, fakes, faults."""
