"""Admitted requests of a limited key, over several workers, beside Flask-Limiter."""
