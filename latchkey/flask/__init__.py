"""Flask: what views require of their callers, and error responses in the JSON envelope."""
