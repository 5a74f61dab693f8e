"""gunicorn as the server: its settings, its worker, and what it answers by itself."""

from __future__ import annotations

import os

# gunicorn reads it when it is imported, and raises ValueError where it is no number. The service
# sets the number of workers by LATCHKEY_WORKERS.
os.environ.pop("WEB_CONCURRENCY", None)
