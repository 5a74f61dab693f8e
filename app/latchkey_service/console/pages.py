"""The registry of the console's pages: their blueprints, in the order of the navigation."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint

from latchkey_service.console.account_changes import account_changes
from latchkey_service.console.accounts import accounts
from latchkey_service.console.audit import audit
from latchkey_service.console.boxes import boxes
from latchkey_service.console.key_changes import key_changes
from latchkey_service.console.key_making import key_making
from latchkey_service.console.keys import keys
from latchkey_service.console.limits import limits
from latchkey_service.console.overview import overview
from latchkey_service.console.password import password


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """A blueprint of the console, under ``/console/``, and its link in the navigation.

    ``title`` and ``endpoint`` are the text and the target of the link; without a title, there is no
    link. All views of the blueprint need a session, except those marked with ``open_to_all``.
    ``for_boxes``: the page exists only if several boxes can share the database.
    """

    blueprint: Blueprint
    title: str | None = None
    endpoint: str = ""
    for_boxes: bool = False


# In the order of the navigation. /console/ redirects to the first page with a title.
PAGES: tuple[ConsolePage, ...] = (
    ConsolePage(keys, "API keys", "keys.show_list"),
    ConsolePage(key_making),
    ConsolePage(key_changes),
    ConsolePage(accounts, "Accounts", "accounts.show_list"),
    ConsolePage(account_changes),
    ConsolePage(limits),
    ConsolePage(overview, "Overview", "overview.show"),
    ConsolePage(boxes, "Boxes", "boxes.show", for_boxes=True),
    ConsolePage(audit, "Audit log", "audit.show"),
    ConsolePage(password, "Password and sessions", "password.show"),
)
