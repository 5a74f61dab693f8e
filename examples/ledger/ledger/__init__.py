"""A small ledger behind API keys: an HTTP API over a double-entry book.

Live keys work on one book and test keys on another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from flask import Flask, Response, jsonify, request

from latchkey import Latchkey, current_principal, require_scope
from ledger.book import Account, Book, BookError, Order, Transfer

JSON = dict[str, Any]
T = TypeVar("T", str, int, bool)


def create_app(latchkey: Latchkey | None = None, directory: Path = Path("books")) -> Flask:
    """The application; each book is a file in ``directory``.

    Without ``latchkey``, it joins the instance that the LATCHKEY_* settings describe.
    """
    app = Flask(__name__)
    books = {mode: Book(directory / f"book-{mode}.db") for mode in ("live", "test")}

    def book() -> Book:
        """The book of the caller's mode: a test key never touches live money."""
        return books[current_principal.mode]

    @app.put("/accounts/<name>")
    @require_scope("ledger:write")
    def open_account(name: str) -> tuple[JSON, int]:
        may_overdraw = _field(_body(), "may_overdraw", bool, default=False)
        is_new = book().open_account(name, may_overdraw=may_overdraw)
        return _shown(book().account(name)), 201 if is_new else 200

    @app.get("/accounts")
    @require_scope("ledger:read")
    def list_accounts() -> JSON:
        accounts = book().accounts()
        # Always zero: a reader can see it.
        total = sum(account.balance for account in accounts)
        return {"accounts": [_shown(account) for account in accounts], "total": total}

    @app.get("/accounts/<name>")
    @require_scope("ledger:read")
    def show_account(name: str) -> JSON:
        return _shown(book().account(name))

    @app.post("/transfers")
    @require_scope("ledger:write")
    def make_transfer() -> tuple[JSON, int]:
        body = _body()
        order = Order(
            source=_field(body, "from", str),
            destination=_field(body, "to", str),
            amount=_field(body, "amount", int),
        )
        # The account keeps its id when its key is rotated, so a retry may use the new key.
        made = book().transfer(current_principal.account_id, _idempotency_key(), order)
        return _made(made), 201 if made.is_new else 200

    @app.errorhandler(BookError)
    def answer_book_error(error: BookError) -> tuple[Response, int]:
        kind = "invalid_request_error" if error.status in (400, 422) else "ledger_error"
        fields = {"type": kind, "code": error.code, "message": str(error)}
        return jsonify(error=fields), error.status

    (latchkey or Latchkey.join()).protect(app)
    return app


def _shown(account: Account) -> JSON:
    return {
        "name": account.name,
        "balance": account.balance,
        "may_overdraw": account.may_overdraw,
    }


def _made(transfer: Transfer) -> JSON:
    order = transfer.order
    return {
        "number": transfer.number,
        "from": order.source,
        "to": order.destination,
        "amount": order.amount,
    }


def _body() -> JSON:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise BookError(400, "INVALID_REQUEST", "the body must be a JSON object")
    return body


def _field(body: JSON, name: str, kind: type[T], default: T | None = None) -> T:
    """A field of exactly this type: ``true`` and ``5.0`` are not integers."""
    value = body.get(name, default)
    if type(value) is not kind:
        names = {str: "a string", int: "an integer", bool: "true or false"}
        raise BookError(400, "INVALID_FIELD", f"{name}: must be {names[kind]}")
    return value


def _idempotency_key() -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not (1 <= len(key) <= 64 and all("!" <= one <= "~" for one in key)):
        raise BookError(
            400,
            "INVALID_REQUEST",
            "the header Idempotency-Key must have 1 to 64 visible characters, "
            "new ones for each transfer and the same for a retry",
        )
    return key
