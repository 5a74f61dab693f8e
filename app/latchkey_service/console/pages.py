"""Where the console's pages register: each a blueprint, and its place in the navigation."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint

from latchkey_service.console.account import account
from latchkey_service.console.audit import audit
from latchkey_service.console.key_changes import key_changes
from latchkey_service.console.key_making import key_making
from latchkey_service.console.keys import keys
from latchkey_service.console.overview import overview


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """A blueprint of the console, under ``/console/``, and the link to it.

    ``title`` is the link's text and ``endpoint`` where it leads; without a title there is none.
    Every view of the blueprint needs a session; one that does not is marked ``open_to_all``.
    """

    blueprint: Blueprint
    title: str | None = None
    endpoint: str = ""


# In the order of the navigation. The first one with a title is where /console/ leads.
PAGES: tuple[ConsolePage, ...] = (
    ConsolePage(keys, "API keys", "keys.show_list"),
    ConsolePage(key_making),
    ConsolePage(key_changes),
    ConsolePage(overview, "Overview", "overview.show"),
    ConsolePage(audit, "Audit log", "audit.show"),
    ConsolePage(account, "Your account", "account.show"),
)
