"""An order service behind API keys, in Flask.

Live and test keys work on separate databases. A key may be limited to some orders by a selector in
its scopes, such as ``orders:read:eu-*``.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from flask import Flask, abort, request
from werkzeug.exceptions import HTTPException

from flask_orders.orders import Order, Orders
from latchkey import Latchkey, OpenRoutes, any_credential, current_principal, require_scope

JSON = dict[str, Any]
LARGEST_QUANTITY = 1_000_000


def create_app(latchkey: Latchkey | None = None, directory: Path = Path("orders")) -> Flask:
    """The application; the orders of each mode are a file in ``directory``.

    Without ``latchkey``, it joins the instance that the LATCHKEY_* settings describe.
    """
    app = Flask(__name__)
    databases = {mode: Orders(directory / f"{mode}.db") for mode in ("live", "test")}

    def orders() -> Orders:
        """The orders of the caller's mode: a test key never sees live data."""
        return databases[current_principal.mode]

    @app.get("/")
    def home() -> JSON:
        return {"service": "orders"}

    @app.get("/orders")
    @any_credential
    def list_orders() -> JSON:
        # No scope is required: a key for some orders gets a list of only those orders.
        selected = orders().selected(current_principal.selectors("orders:read"))
        return {"orders": [asdict(order) for order in selected]}

    @app.get("/orders/<order_id>")
    @require_scope("orders:read", of="order_id")
    def show_order(order_id: str) -> JSON:
        found = orders().find(order_id)
        if found is None:
            abort(404)
        return asdict(found)

    @app.put("/orders/<order_id>")
    @require_scope("orders:write", of="order_id")
    def place_order(order_id: str) -> tuple[JSON, int]:
        order = _order_of(order_id, request.get_json())
        return asdict(order), 201 if orders().place(order) else 200

    @app.errorhandler(HTTPException)
    def answer_error(error: HTTPException) -> tuple[JSON, int]:
        fields = {"code": error.name, "message": error.description}
        return {"error": fields}, error.code or 500

    (latchkey or Latchkey.join()).protect(app, OpenRoutes({("GET", "/")}))
    return app


def _order_of(order_id: str, body: Any) -> Order:
    fields = body if isinstance(body, dict) else {}
    item, quantity = fields.get("item"), fields.get("quantity")
    if not isinstance(item, str) or not item:
        abort(400, "item: must be a string that is not empty")
    # In Python, True is an integer too.
    if type(quantity) is not int or not 1 <= quantity <= LARGEST_QUANTITY:
        abort(400, f"quantity: must be an integer from 1 to {LARGEST_QUANTITY}")
    return Order(order_id, item, quantity)
