"""The database: tables, migrations, and every line of SQL. Returns the domain's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latchkey.store.credentials import Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    """``Store``, loaded with SQLAlchemy when it is first asked for."""
    if name != "Store":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from latchkey.store.credentials import Store

    return Store
