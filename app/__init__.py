"""Latchkey: API-key authentication for one box. This module only wires the parts together."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Every module of the package imports this one first: it loads nothing, so that the domain and the
# migrations do without Flask.
if TYPE_CHECKING:
    from flask import Flask

    from app.auth.shared import SharedState
    from app.config import Settings
    from app.credentials.derivation import DerivationKeys
    from app.store.audit_head import Seal


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
    from app.api.routes import build_api, open_routes
    from app.assembly import Latchkey
    from app.auth.start_check import check_declarations
    from app.config import load_settings
    from app.console.mount import mount_console
    from app.derivation import load_derivation
    from app.key_files import make_audit_key_file
    from app.store.migrate import migrate_in_child

    settings = settings or load_settings()
    derivation = derivation or load_derivation(settings)
    if migrate:
        make_audit_key_file(settings, migrate_in_child(settings.database_url).audit_rows)
    latchkey = Latchkey.from_settings(settings, derivation, shared, seal)
    app = build_api(latchkey.settings)
    mount_console(app, latchkey)
    routes = open_routes(latchkey.settings)
    latchkey.protect(app, routes)
    check_declarations(app, routes)
    return app
