"""djangorestframework-api-key for a view of Django REST framework, and the same view without it.

It configures Django for the whole process.
"""

from __future__ import annotations

import random
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection

from benchmarks.overhead.environs import PATH, new_environ, turns
from benchmarks.overhead.results import BARE
from benchmarks.overhead.timing import Environ, Subject


class DjangoPeer:
    """A site with a database in ``directory``."""

    def __init__(self, directory: Path, keys: int, rng: random.Random) -> None:
        self._rng = rng
        _configure(directory / "django.db")
        from rest_framework_api_key.models import APIKey

        call_command("migrate", verbosity=0)
        self._keys = [APIKey.objects.create_key(name="bench")[1] for _ in range(keys)]
        self._application = get_wsgi_application()

    def subjects(self) -> dict[str, Subject]:
        """The open view and the protected one."""
        return {
            BARE: self._subject(f"{PATH}/bare"),
            "djangorestframework-api-key": self._subject(PATH),
        }

    def close(self) -> None:
        connection.close()

    def _subject(self, path: str) -> Subject:
        drawn = turns(self._keys, self._rng)

        def environ() -> Environ:
            made = new_environ(AUTHORIZATION=f"Api-Key {next(drawn)}")
            made["PATH_INFO"] = path
            return made

        return Subject(self._application, environ)


def _configure(database: Path) -> None:
    """A minimal Django with a persistent database connection."""
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(database),
                "CONN_MAX_AGE": None,
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["rest_framework", "rest_framework_api_key"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[],
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        ROOT_URLCONF="benchmarks.overhead.django_views",
        SECRET_KEY="only for this process",  # noqa: S106  # signs nothing
        USE_TZ=True,
    )
    django.setup()
