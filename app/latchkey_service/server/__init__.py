"""gunicorn as the server: its settings, its worker, and what it answers by itself."""
