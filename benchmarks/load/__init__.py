"""Under load: Locust sends requests to gunicorn, to open and protected views and every outcome."""
