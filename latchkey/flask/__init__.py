"""Flask: what views require of their callers, and how errors are answered in the envelope."""
