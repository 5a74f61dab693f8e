"""Accounts over HTTP, and the keys of the instance account that manage them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.service import Pair, Service


def manager(service: Service, mode: str = "live", scope: str = "accounts:write") -> Pair:
    """A key of the instance account with full access and one scope on accounts."""
    return service.create_key(mode, "--scope", "*", "--scope", scope)


def new_account(service: Service, by: Pair, **terms: object) -> Any:
    """Create an account; returns the object."""
    made = service.request(
        "POST", "/v1/accounts", by.bearer, json_body={"name": "customer", **terms}
    )
    assert made.status == 201, made
    return made.json


def key_for(service: Service, by: Pair, account: str, **terms: object) -> Pair:
    """Create a key for an account, with full access unless the terms say otherwise."""
    body = {"name": "a key", "account": account, "scopes": ["*"], **terms}
    made = service.request("POST", "/v1/api_keys", by.bearer, json_body=body)
    assert made.status == 201, made
    assert made.json["account"] == account
    return Pair(made.json["api_key"], made.json["api_secret"])


def limited_key(service: Service, by: Pair, *limits: Mapping[str, object], **terms: object) -> Pair:
    """Create a key with limits, for the caller's account unless the terms say otherwise."""
    body = {"name": "limited", "scopes": ["orders:read"], "limits": list(limits), **terms}
    made = service.request("POST", "/v1/api_keys", by.bearer, json_body=body)
    assert made.status == 201, made
    return Pair(made.json["api_key"], made.json["api_secret"])


def change_account(service: Service, by: Pair, account: str, **terms: object) -> Any:
    """Change an account; returns the object."""
    changed = service.request("PATCH", f"/v1/accounts/{account}", by.bearer, json_body=terms)
    assert changed.status == 200, changed
    return changed.json
