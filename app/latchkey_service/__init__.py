"""The Latchkey service: the API, the console, the server and the command line.

This module only connects the parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# All modules of the package import this one first. It imports nothing at run time, so that commands
# without Flask do not load it.
if TYPE_CHECKING:
    from flask import Flask

    from latchkey.box.shared import SharedState
    from latchkey.config import Settings
    from latchkey.credentials.derivation import DerivationKeys
    from latchkey.store.audit_head import Seal
    from latchkey_service.verify.rules import Rules


def create_app(
    settings: Settings | None = None,
    *,
    derivation: DerivationKeys | None = None,
    shared: SharedState | None = None,
    seal: Seal | None = None,
    rules: Rules | None = None,
    migrate: bool = True,
) -> Flask:
    """Create the protected Flask application.

    If they are None, ``settings`` are read from the environment, and ``derivation``, ``seal`` and
    ``rules`` are loaded as the settings specify. Without ``shared``, nothing is shared with other
    processes. ``migrate`` migrates the database to the current revision, and creates the key of an
    empty audit log; a server that did this before the fork passes False. Raises ConfigurationError
    if a setting or a file is invalid.
    """
    from latchkey.assembly import Latchkey
    from latchkey.config import load_settings
    from latchkey.flask.start_check import check_declarations
    from latchkey.key_files import load_derivation
    from latchkey.preparing import prepare_instance
    from latchkey_service.api.routes import build_api, open_routes
    from latchkey_service.api.verify import DESCRIBED_REQUESTS
    from latchkey_service.console.mount import mount_console
    from latchkey_service.verify.checking import DescribedRequests
    from latchkey_service.verify.rules_file import load_rules
    from latchkey_service.verify.surface import serve_proxies

    settings = settings or load_settings()
    derivation = derivation or load_derivation(settings)
    rules = rules or load_rules(settings)
    if migrate:
        prepare_instance(settings)
    latchkey = Latchkey.from_settings(settings, derivation, shared, seal)
    app = build_api(latchkey.settings)
    app.extensions[DESCRIBED_REQUESTS] = DescribedRequests(latchkey)
    mount_console(app, latchkey)
    routes = open_routes(latchkey.settings)
    latchkey.protect(app, routes)
    check_declarations(app, routes)
    serve_proxies(app, latchkey, rules)
    return app
