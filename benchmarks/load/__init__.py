"""Under load: Locust asks a real gunicorn, protected beside open, and every way a check can end."""
