"""Latchkey: API-key authentication for one box. This module only wires the parts together."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Every module of the package imports this one first: it loads nothing, so that the domain and the
# migrations do without Flask.
if TYPE_CHECKING:
    from flask import Flask

    from latchkey.box.shared import SharedState
    from latchkey.config import Settings
    from latchkey.credentials.derivation import DerivationKeys
    from latchkey.store.audit_head import Seal


def create_app(
    settings: Settings | None = None,
    *,
    derivation: DerivationKeys | None = None,
    shared: SharedState | None = None,
    seal: Seal | None = None,
    migrate: bool = True,
) -> Flask:
    """The Flask application, protected; WSGI servers call ``app.wsgi_app`` through it.

    ``settings`` None reads them from the environment, ``derivation`` None the derivation keys from
    where the settings say, and ``seal`` None the key of the audit log; ``shared`` None shares
    nothing with other processes. ``migrate`` brings the database to the current schema first, and
    makes the key of an empty audit log; a server that did so before it forked passes False.
    Raises ConfigurationError where something does not fit.
    """
    from latchkey.assembly import Latchkey
    from latchkey.config import load_settings
    from latchkey.flask.start_check import check_declarations
    from latchkey.key_files import load_derivation, make_audit_key_file
    from latchkey.store.database_urls import database_at
    from latchkey_service.api.routes import build_api, open_routes
    from latchkey_service.console.mount import mount_console

    settings = settings or load_settings()
    derivation = derivation or load_derivation(settings)
    if migrate:
        make_audit_key_file(settings, database_at(settings.database_url).prepare().audit_rows)
    latchkey = Latchkey.from_settings(settings, derivation, shared, seal)
    app = build_api(latchkey.settings)
    mount_console(app, latchkey)
    routes = open_routes(latchkey.settings)
    latchkey.protect(app, routes)
    check_declarations(app, routes)
    return app
