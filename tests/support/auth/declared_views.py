"""Views with and without declarations, and requests for them."""

from __future__ import annotations

from flask import Flask

from latchkey import Latchkey, require_scope
from tests.support.audited import TESTER
from tests.support.auth.plain_application import bearer


def secret(latchkey: Latchkey, *scopes: str) -> dict[str, str]:
    """The header of a new key with these scopes; by default, with all."""
    held = frozenset(scopes or {"*"})
    issued = latchkey.credentials.issue(name="x", caller=None, scopes=held, by=TESTER)
    return bearer(issued.secret)


def status(site: Flask, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    return site.test_client().open(path, method=method, headers=headers or {}).status_code


def hello(**arguments: object) -> str:
    return "hello"


class Office:
    """A class with a bound method as a view, and one with a callable instance."""

    def orders(self) -> str:
        return "orders"

    @require_scope("account:read")
    def marked(self) -> str:
        return "marked"


class Callee:
    """Instances do not accept attributes."""

    __slots__ = ()

    def __call__(self) -> str:
        return "called"
