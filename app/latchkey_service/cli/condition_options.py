"""The options for the conditions and the metadata of a key, as fields of a request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from latchkey.credentials.conditions import NETWORKS_MODES
from latchkey_service.cli.options import EXPIRY, TEXT, Never
from latchkey_service.strict_json import loads

_NAMES = ("enabled", "not_before", "networks", "any_network", "networks_mode", "endpoints")
_OPTIONS = (
    click.option(
        "--enabled/--disabled",
        default=None,
        help="Whether the key may be used. A disabled key can be enabled again.",
    ),
    click.option(
        "--not-before",
        type=EXPIRY,
        metavar="TIME",
        help="When the key begins to be valid, as for --expires-at; never removes the condition.",
    ),
    click.option(
        "--network",
        "networks",
        type=TEXT,
        multiple=True,
        metavar="CIDR",
        help="A network that the key may be used from, such as 192.0.2.0/24. May be repeated.",
    ),
    click.option("--any-network", is_flag=True, help="Allow the key to be used from everywhere."),
    click.option(
        "--networks-mode",
        type=click.Choice(NETWORKS_MODES),
        help="observe refuses nothing, and counts requests from other networks.",
    ),
    click.option(
        "--endpoint",
        "endpoints",
        type=TEXT,
        multiple=True,
        metavar="RULE",
        help='A method and a path that the key may be used for, such as "GET /orders/**". May be '
        "repeated.",
    ),
    click.option("--any-endpoint", is_flag=True, help="Allow the key to be used for every path."),
    click.option(
        "--metadata", type=TEXT, metavar="JSON", help="A JSON object of your own; null removes it."
    ),
)


def condition_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets ``conditions``: the given fields of a request."""

    @functools.wraps(command)
    def with_conditions(**options: Any) -> Any:
        own = {name: options.pop(name) for name in (*_NAMES, "any_endpoint", "metadata")}
        return command(conditions=_fields(**own), **options)

    wrapped: Callable[..., Any] = with_conditions
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _fields(
    *,
    enabled: bool | None,
    not_before: object,
    networks: tuple[str, ...],
    any_network: bool,
    networks_mode: str | None,
    endpoints: tuple[str, ...],
    any_endpoint: bool,
    metadata: str | None,
) -> dict[str, object]:
    """The fields of a request that the options give; raises UsageError for a contradiction."""
    given: dict[str, object] = {}
    if enabled is not None:
        given["enabled"] = enabled
    if not_before is not None:
        given["not_before"] = None if isinstance(not_before, Never) else not_before
    for name, values, everything in (
        ("network", networks, any_network),
        ("endpoint", endpoints, any_endpoint),
    ):
        if values and everything:
            raise click.UsageError(f"Give --{name} or --any-{name}, not both.")
        if values or everything:
            given[f"{name}s"] = list(values) or None
    if networks_mode is not None:
        given["networks_mode"] = networks_mode
    if metadata is not None:
        try:
            given["metadata"] = loads(metadata)
        except (ValueError, RecursionError):
            raise click.UsageError(
                '--metadata must be a JSON object, such as \'{"plan": "gold"}\'.'
            ) from None
    return given
