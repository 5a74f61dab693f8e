"""The layers of the architecture: what each part may import, with the exceptions."""

from __future__ import annotations

from tests.support.architecture.sources import is_within

_FOUNDATION = (
    "latchkey.binding",
    "latchkey.config",
    "latchkey.credentials",
    "latchkey.error_answers",
    "latchkey.errors",
    "latchkey.files",
    "latchkey.wording",
)
_LIBRARY = ("latchkey", "fastcache")

# The public side of the store: its protocols, how it is opened, and the audit head.
STORE = (
    "latchkey.store.audit_head",
    "latchkey.store.carrying.carried",
    "latchkey.store.copying",
    "latchkey.store.database_urls",
    "latchkey.store.lifecycle",
    "latchkey.store.places",
    "latchkey.store.protocols",
    "latchkey.store.reconciling",
)

# The parts of the domain that work on stored objects.
_OVER_A_STORE = (
    "latchkey.credentials",
    "latchkey.errors",
    "latchkey.store.protocols",
    "latchkey.wording",
)

# The modules that the packages of the service share.
_SHARED_BY_SURFACES = (
    "latchkey_service.bodies",
    "latchkey_service.shapes",
    "latchkey_service.strict_json",
    "latchkey_service.repeated_headers",
    "latchkey_service.url_map",
)

# The surfaces for people and programs. None of them imports another.
SURFACES = ("latchkey_service.api", "latchkey_service.console", "latchkey_service.cli")

# The imports within the project that each part may have: modules, or complete packages. The longest
# matching name decides; a module without a match is not allowed. Each part may import itself.
LAYERS: dict[str, tuple[str, ...]] = {
    "fastcache": (),
    # Only the public names; each module is loaded when its name is first used.
    "latchkey": ("latchkey", "fastcache"),
    "latchkey.native": (),
    "latchkey.errors": (),
    "latchkey.error_answers": ("latchkey.errors",),
    "latchkey.wording": (),
    "latchkey.forks": (),
    "latchkey.log_limit": ("latchkey.wording",),
    "latchkey.files": ("latchkey.errors",),
    "latchkey.binding": (),
    "latchkey.platform_variables": (),
    "latchkey.setting_types": (),
    "latchkey.shown_urls": (),
    "latchkey.config": (
        *("latchkey.binding", "latchkey.credentials.granting", "latchkey.platform_variables"),
        *("latchkey.credentials.default_limit", "latchkey.errors", "latchkey.setting_types"),
        "latchkey.shown_urls",
    ),
    "latchkey.credentials": ("latchkey.errors", "latchkey.wording"),
    "latchkey.credentials.account_service": _OVER_A_STORE,
    "latchkey.credentials.accounts": ("latchkey.credentials.limits",),
    "latchkey.credentials.limits": ("latchkey.errors",),
    "latchkey.credentials.quotas": ("latchkey.credentials.limits",),
    "latchkey.credentials.importing": _OVER_A_STORE,
    "latchkey.credentials.limit_service": _OVER_A_STORE,
    "latchkey.credentials.service": _OVER_A_STORE,
    "latchkey.credentials.usage": _OVER_A_STORE,
    "latchkey.credentials.scopes": (),
    "latchkey.credentials.networks": (),
    "latchkey.credentials.endpoints": (),
    "latchkey.credentials.models": (
        *("latchkey.credentials.accounts", "latchkey.credentials.conditions"),
        *("latchkey.credentials.limits", "latchkey.credentials.scopes"),
    ),
    "latchkey.credentials.audit": (
        *("latchkey.credentials.audit_encoding", "latchkey.credentials.conditions"),
    ),
    "latchkey.credentials.audit_encoding": (),
    "latchkey.credentials.audit_findings": ("latchkey.wording",),
    "latchkey.credentials.audit_erasure": (
        *("latchkey.credentials.audit", "latchkey.credentials.audit_findings"),
        "latchkey.credentials.times",
    ),
    "latchkey.credentials.audit_check": (
        *("latchkey.credentials.audit", "latchkey.credentials.audit_encoding"),
        *("latchkey.credentials.audit_erasure", "latchkey.credentials.audit_findings"),
    ),
    "latchkey.credentials.listing": ("latchkey.credentials.models",),
    "latchkey.credentials.administrators": (),
    "latchkey.store": (
        *("latchkey.config", "latchkey.shown_urls"),
        "latchkey.credentials.accounts",
        "latchkey.credentials.administrators",
        "latchkey.credentials.audit",
        "latchkey.credentials.audit_check",
        "latchkey.credentials.audit_encoding",
        "latchkey.credentials.audit_erasure",
        "latchkey.credentials.audit_findings",
        "latchkey.credentials.caller_rights",
        "latchkey.credentials.callers",
        "latchkey.credentials.conditions",
        "latchkey.credentials.idempotency",
        "latchkey.credentials.limit_records",
        "latchkey.credentials.limits",
        "latchkey.credentials.listing",
        "latchkey.credentials.models",
        "latchkey.credentials.publishing",
        "latchkey.credentials.quotas",
        "latchkey.credentials.reach",
        "latchkey.credentials.times",
        "latchkey.errors",
        "latchkey.files",
        "latchkey.forks",
    ),
    "latchkey.store.database_urls": (
        *("latchkey.config", "latchkey.errors", "latchkey.files", "latchkey.store"),
    ),
    # The account that a migration creates.
    "latchkey.store.migrations": (
        *("latchkey.credentials.accounts", "latchkey.credentials.tokens", "latchkey.store.tables"),
    ),
    # A Latchkey in memory, for the tests of applications.
    "latchkey.testing": (
        *("latchkey.asgi", "latchkey.assembly", "latchkey.check._limits", "latchkey.parts"),
        "latchkey.wsgi_answers",
        "latchkey.store.memory",
        *STORE,
        *_FOUNDATION,
    ),
    # For programs that call an API: they load nothing of the rest.
    "latchkey.client": ("latchkey.errors", "latchkey.files"),
    "latchkey.key_files": (
        *("latchkey.store.audit_head", "latchkey.store.database_urls"),
        *_FOUNDATION,
    ),
    "latchkey.permissions": (
        *("latchkey.key_files", "latchkey.store.database_urls"),
        *_FOUNDATION,
    ),
    "latchkey.preparing": ("latchkey.key_files", *STORE, *_FOUNDATION),
    "latchkey.addresses": (),
    "latchkey.box": (
        *("latchkey.addresses", "latchkey.native", "latchkey.store.places"),
        *("latchkey.store.protocols", "fastcache"),
        *_FOUNDATION,
    ),
    # The life cycle of shared state: it persists the counts of a service that has ended.
    "latchkey.box.segment": ("latchkey.box", "fastcache", *STORE, *_FOUNDATION),
    "latchkey.check": (
        *("latchkey.addresses", "latchkey.box", "latchkey.native", "fastcache"),
        "latchkey.store.protocols",
        *_FOUNDATION,
    ),
    "latchkey.wsgi_answers": ("latchkey.check.headers", *_FOUNDATION),
    "latchkey.wsgi": (
        *("latchkey.addresses", "latchkey.check", "latchkey.box", "latchkey.forks", "fastcache"),
        "latchkey.wsgi_answers",
        *_FOUNDATION,
    ),
    "latchkey.current": ("latchkey.credentials.models",),
    "latchkey.flask": ("latchkey.current", "latchkey.wsgi_answers", "latchkey.check", *_FOUNDATION),
    "latchkey.logs": ("latchkey.flask.requirements",),
    "latchkey.parts": (
        *("latchkey.addresses", "latchkey.box", "latchkey.check", "latchkey.key_files", *STORE),
        *_FOUNDATION,
    ),
    "latchkey.membership": (
        *("latchkey.parts", "latchkey.box", "latchkey.forks", "latchkey.log_limit"),
        *("latchkey.permissions", "fastcache", *STORE),
        *_FOUNDATION,
    ),
    "latchkey.assembly": (
        *("latchkey.flask", "latchkey.wsgi", "latchkey.check", "latchkey.box", "latchkey.parts"),
        *("latchkey.membership", "latchkey.addresses", "latchkey.forks", *STORE),
        "latchkey.wsgi_answers",
        *_FOUNDATION,
    ),
    "latchkey.asgi_environ": (),
    "latchkey.asgi": (
        "latchkey.asgi_environ",
        *("latchkey.assembly", "latchkey.box.retention", "latchkey.box.sightings"),
        *("latchkey.check", "latchkey.current", "latchkey.forks", "latchkey.wsgi"),
        "latchkey.wsgi_answers",
        *_FOUNDATION,
    ),
    "latchkey.fastapi": (
        *(
            "latchkey.asgi",
            "latchkey.asgi_environ",
            "latchkey.assembly",
            "latchkey.check",
            "latchkey.wsgi",
        ),
        *_FOUNDATION,
    ),
    # The factory: the only object of the package itself that others call.
    "latchkey_service": (
        *("latchkey_service.api", "latchkey_service.console", "latchkey_service.verify"),
        *_LIBRARY,
    ),
    "latchkey_service.bodies": ("latchkey.errors",),
    "latchkey_service.shapes": _FOUNDATION,
    "latchkey_service.strict_json": (),
    "latchkey_service.command": ("latchkey_service.cli",),
    "latchkey_service.repeated_headers": (),
    "latchkey_service.url_map": (),
    # The user of a command line: the actor of its changes.
    "latchkey_service.command_user": ("latchkey.credentials.audit",),
    "latchkey_service.administrators": (*_FOUNDATION, "latchkey.store.protocols"),
    "latchkey_service.api": ("latchkey_service.verify", *_SHARED_BY_SURFACES, *_LIBRARY),
    # What proxies ask, and the rules of a routes file, which a command explains.
    "latchkey_service.verify": (*_SHARED_BY_SURFACES, *_LIBRARY),
    "latchkey_service.console": (
        "latchkey_service.administrators",
        *_SHARED_BY_SURFACES,
        *_LIBRARY,
    ),
    "latchkey_service.first_start": (
        "latchkey_service.administrators",
        *("latchkey_service.command_user", "latchkey_service.console.transport"),
        *_LIBRARY,
    ),
    # The commands about a whole database.
    "latchkey_service.moving": (
        *("latchkey_service.command_user", "latchkey_service.running_boxes", *_LIBRARY),
    ),
    "latchkey_service.reconciling": (
        *("latchkey_service.command_user", "latchkey_service.restore_rows"),
        *("latchkey_service.running_boxes", *_LIBRARY),
    ),
    "latchkey_service.restore_rows": ("latchkey_service.command_user", *_LIBRARY),
    "latchkey_service.restoring": (
        *("latchkey_service.command_user", "latchkey_service.restore_rows", *_LIBRARY),
    ),
    "latchkey_service.running_boxes": _LIBRARY,
    # The routes and the console are loaded before the workers are forked.
    "latchkey_service.server": (
        *("latchkey_service", "latchkey_service.api.routes", "latchkey_service.console.mount"),
        *("latchkey_service.repeated_headers", "latchkey_service.verify"),
        *_LIBRARY,
    ),
    "latchkey_service.cli": (
        *_SHARED_BY_SURFACES,
        *("latchkey_service.administrators", "latchkey_service.command_user"),
        *("latchkey_service.first_start", "latchkey_service.moving"),
        *("latchkey_service.reconciling", "latchkey_service.restoring", "latchkey_service.server"),
        *("latchkey_service.verify", *_LIBRARY),
    ),
}

# Imports within the project inside a function, with the reason.
DEFERRED = {
    "latchkey_service": "each of its modules imports it first: it must not import them in turn",
    "latchkey_service.cli": "a command loads what it works with only where it runs",
    "latchkey_service.command": "what is missing for it is said in one line",
    "latchkey.store.sqlite.database": "all but opening the store does without SQLAlchemy",
    "latchkey.store.database_urls": "the driver of PostgreSQL need not be installed",
    "latchkey.store.postgresql.database": "all but opening the store does without SQLAlchemy",
    "latchkey.store.postgresql.migrate": "Alembic is loaded only where something is to migrate",
    "latchkey.store.sqlite.migrate": "Alembic is loaded only where something may be to migrate",
}

# Packages that a part must not import, in any of its modules.
_WEB = {"flask", "werkzeug"}
_DATABASE = {"sqlalchemy", "alembic"}
FOREIGN = {
    "fastcache": {*_WEB, "sqlalchemy", "gunicorn", "cachetools"},
    "latchkey": {
        "argon2",
        "click",
        "flask_login",
        "flask_openapi3",
        "flask_wtf",
        "gunicorn",
        "rich",
    },
    "latchkey.credentials": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.errors": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.config": {*_WEB, *_DATABASE},
    "latchkey.store": {*_WEB, "pydantic"},
    "latchkey.box": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.check": {*_WEB, *_DATABASE, "pydantic"},
    "latchkey.check.authenticator": {"wsgiref"},
    "latchkey.check.flights": {"wsgiref"},
    "latchkey.check.cache_levels": {"wsgiref"},
    "latchkey.client": {*_WEB, *_DATABASE, "pydantic", "cryptography"},
    "latchkey.wsgi": {*_WEB, *_DATABASE},
    "latchkey.wsgi_answers": {*_WEB, *_DATABASE},
    "latchkey_service.api": {*_DATABASE, "gunicorn"},
    "latchkey_service.console": {*_DATABASE, "gunicorn"},
}


def part_of(module: str) -> str:
    """The entry of the table for a module: the longest matching name."""
    # For these, the name means only the package itself; its modules must be listed.
    packages = ("latchkey", "latchkey_service")
    fits = [
        part
        for part in LAYERS
        if module == part or (part not in packages and is_within(module, part))
    ]
    assert fits, f"{module} belongs to no layer: add it to LAYERS, or put it where it belongs"
    return max(fits, key=len)


# Other modules that work on the files of SQLite, with the reason.
WORKS_ON_SQLITE_FILES = {
    "latchkey.store.database_urls": "the one place that knows which kinds of database there are",
    "latchkey_service.cli.backup": "copies a SQLite file",
    "latchkey_service.reconciling": "reads a copy of a SQLite file",
    "latchkey_service.restoring": "puts a copy of a SQLite file in its place",
}
