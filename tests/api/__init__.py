"""Tests of the HTTP API over sockets, against the real service."""
