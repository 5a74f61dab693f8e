"""An order service behind API keys, in FastAPI.

Live and test keys work on separate databases. A key may be limited to some orders by a selector in
its scopes, such as ``orders:read:eu-*``. The OpenAPI description names the scope of each operation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Response
from pydantic import BaseModel, ConfigDict, Field

from fastapi_orders.orders import Order, Orders
from latchkey import Latchkey, OpenRoutes, Principal
from latchkey.fastapi import any_credential, protect, require_scope

Anybody = Annotated[Principal, Depends(any_credential)]
Reader = Annotated[Principal, Depends(require_scope("orders:read", of="order_id"))]
Writer = Annotated[Principal, Depends(require_scope("orders:write", of="order_id"))]


class OrderBody(BaseModel):
    """What a caller orders."""

    model_config = ConfigDict(strict=True)

    item: str = Field(min_length=1)
    quantity: int = Field(ge=1, le=1_000_000)


def create_app(latchkey: Latchkey | None = None, directory: Path = Path("orders")) -> FastAPI:
    """The application; the orders of each mode are a file in ``directory``.

    Without ``latchkey``, it joins the instance that the LATCHKEY_* settings describe.
    """
    app = FastAPI(title="Orders")
    protect(app, latchkey, OpenRoutes({("GET", "/docs"), ("GET", "/openapi.json")}))
    databases = {mode: Orders(directory / f"{mode}.db") for mode in ("live", "test")}

    def orders_for(principal: Principal) -> Orders:
        """The orders of the caller's mode: a test key never sees live data."""
        return databases[principal.mode]

    # Not `async def`: FastAPI runs these routes in threads, so the database blocks no request.

    @app.get("/orders")
    def list_orders(principal: Anybody) -> list[Order]:
        # No scope is required: a key for some orders gets a list of only those orders.
        return orders_for(principal).selected(principal.selectors("orders:read"))

    @app.get("/orders/{order_id}")
    def show_order(order_id: str, principal: Reader) -> Order:
        found = orders_for(principal).find(order_id)
        if found is None:
            raise HTTPException(404, "there is no such order")
        return found

    @app.put("/orders/{order_id}", responses={201: {"model": Order}})
    def place_order(order_id: str, body: OrderBody, principal: Writer, response: Response) -> Order:
        order = Order(order_id, body.item, body.quantity)
        if orders_for(principal).place(order):
            response.status_code = 201
        return order

    return app
