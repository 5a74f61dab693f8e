"""The gunicorn server: its settings, its worker, and the errors that it answers itself."""

from __future__ import annotations

import os

# gunicorn reads this variable at import, and raises ValueError unless it is a number. The setting
# LATCHKEY_WORKERS determines the number of workers.
os.environ.pop("WEB_CONCURRENCY", None)
