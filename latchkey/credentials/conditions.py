"""Conditions of a credential: when, from where and for what a valid key may be used.

A condition narrows; it never grants. The stored form is ``Conditions``; ``Evaluation`` is the same,
arranged for requests, and exists only for keys that have a condition.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar

from latchkey.credentials.endpoints import (
    MOST_ENDPOINTS,
    EndpointRule,
    EndpointSet,
    endpoint_within,
    parse_endpoint,
)
from latchkey.credentials.networks import (
    MOST_NETWORKS,
    Network,
    NetworkSet,
    network_within,
    parse_network,
)
from latchkey.credentials.times import from_milliseconds, to_milliseconds
from latchkey.errors import (
    AddressNotAllowed,
    ApiError,
    DisabledCredential,
    EndpointNotAllowed,
    InvalidField,
    NotYetValidCredential,
)

NetworksMode = Literal["enforce", "observe"]
NETWORKS_MODES: tuple[NetworksMode, ...] = ("enforce", "observe")

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a credential. ``networks`` and ``endpoints`` are None for all.

    ``not_before`` is a time in UTC with millisecond precision. With ``networks_mode`` "observe", a
    request from elsewhere is counted and not refused.
    """

    enabled: bool = True
    not_before: datetime | None = None
    networks: tuple[Network, ...] | None = None
    networks_mode: NetworksMode = "enforce"
    endpoints: tuple[EndpointRule, ...] | None = None

    def outside(self, callers: Conditions) -> str | None:
        """The name of the first field that is wider than the caller's; None if none is.

        Each network must lie inside one of the caller's and each endpoint rule inside one of the
        caller's. No networks are wider than any, and so are networks that are only observed. The
        other fields cannot be wider: a caller that makes a request is enabled and valid.
        """
        if callers.networks is not None and callers.networks_mode == "enforce":
            if self.networks is None or self.networks_mode == "observe":
                return "networks"
            if not all(network_within(one, callers.networks) for one in self.networks):
                return "networks"
        if callers.endpoints is not None:
            if self.endpoints is None:
                return "endpoints"
            if not all(endpoint_within(one, callers.endpoints) for one in self.endpoints):
                return "endpoints"
        return None

    def looser_than(self, present: Conditions) -> bool:
        """Whether these could admit a request, now or later, that the ``present`` ones refuse."""
        if self.enabled and not present.enabled:
            return True
        if present.not_before is not None and (
            self.not_before is None or self.not_before < present.not_before
        ):
            return True
        return self.outside(present) is not None


NO_CONDITIONS = Conditions()


class ConditionTerms(TypedDict, total=False):
    """The conditions that a request gives; one left out is the caller's own, or unchanged."""

    enabled: bool
    not_before: datetime | None
    networks: tuple[Network, ...] | None
    networks_mode: NetworksMode
    endpoints: tuple[EndpointRule, ...] | None


def parse_networks(given: Iterable[str]) -> tuple[Network, ...]:
    """Networks as they are stored, each once; raises InvalidField."""
    return _parse_each("networks", given, parse_network, MOST_NETWORKS)


def parse_endpoints(given: Iterable[str]) -> tuple[EndpointRule, ...]:
    """Endpoint rules as they are stored, each once; raises InvalidField."""
    return _parse_each("endpoints", given, parse_endpoint, MOST_ENDPOINTS)


def _parse_each(
    field: str, given: Iterable[str], parse: Callable[[str], _Item], most: int
) -> tuple[_Item, ...]:
    found: dict[_Item, None] = {}
    for number, text in enumerate(given):
        try:
            found[parse(text)] = None
        except ValueError as error:
            # The text is not quoted: it may be a secret in the wrong field.
            raise InvalidField(f"{field}.{number}", str(error)) from None
    if not 1 <= len(found) <= most:
        raise InvalidField(field, f"list 1 to {most}, or give null for all")
    return tuple(found)


def conditions_text(conditions: Conditions) -> str | None:
    """The conditions as records and audit rows write them: JSON of those that are set, or None."""
    if conditions == NO_CONDITIONS:
        return None
    return json.dumps(conditions_detail(conditions), separators=(",", ":"))


def conditions_detail(conditions: Conditions) -> dict[str, Any]:
    """The conditions that are set, as JSON values; times in milliseconds since 1970."""
    found: dict[str, Any] = {}
    if not conditions.enabled:
        found["enabled"] = False
    if conditions.not_before is not None:
        found["not_before"] = to_milliseconds(conditions.not_before)
    if conditions.networks is not None:
        found["networks"] = [str(network) for network in conditions.networks]
    if conditions.networks_mode != "enforce":
        found["networks_mode"] = conditions.networks_mode
    if conditions.endpoints is not None:
        found["endpoints"] = [str(rule) for rule in conditions.endpoints]
    return found


def conditions_of_text(text: str | None) -> Conditions:
    """The conditions that ``conditions_text`` wrote.

    Raises ValueError or TypeError for any other text: a condition that cannot be read must not be
    ignored.
    """
    if text is None:
        return NO_CONDITIONS
    found = json.loads(text)
    if not isinstance(found, dict) or not found.keys() <= Conditions.__dataclass_fields__.keys():
        raise ValueError("not conditions")
    if not isinstance(found.get("enabled", False), bool):
        raise TypeError("enabled is not a boolean")
    if found.get("networks_mode", "enforce") not in NETWORKS_MODES:
        raise ValueError("not a mode of networks")
    if (not_before := found.get("not_before")) is not None:
        found["not_before"] = from_milliseconds(int(not_before))
    try:
        if (networks := found.get("networks")) is not None:
            found["networks"] = parse_networks(networks)
        if (endpoints := found.get("endpoints")) is not None:
            found["endpoints"] = parse_endpoints(endpoints)
    except InvalidField as error:
        raise ValueError(error.message) from None
    return Conditions(**found)


def are_looser(backed_up: str | None, present: str | None) -> bool:
    """Whether stored conditions are looser than the ``present`` ones.

    Text that cannot be read counts as looser, and what is present then stays.
    """
    try:
        return conditions_of_text(backed_up).looser_than(conditions_of_text(present))
    except (ValueError, TypeError):
        return True


class Facts(Protocol):
    """The facts of a request that conditions are about; each is read only if one depends on it.

    Reading one may raise an ApiError, which refuses the request. See ``RequestFacts``.
    """

    @property
    def method(self) -> str | None:
        """The method."""

    @property
    def path(self) -> str | None:
        """The path in the form of PATH_INFO."""

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The caller's address."""


class RequestFacts(NamedTuple):
    """The facts of a request that conditions are about; None for one that is not known.

    ``path`` is WSGI's PATH_INFO: bytes of UTF-8 as Latin-1.
    """

    method: str | None
    path: str | None
    address: IPv4Address | IPv6Address | None


NO_FACTS = RequestFacts(None, None, None)
"""Nothing is known of the request: a condition on it is not met."""


class Evaluation:
    """Conditions, arranged for the requests that they are evaluated for."""

    __slots__ = ("conditions", "enabled", "endpoints", "networks", "not_before", "observed")

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        self.enabled = conditions.enabled
        self.not_before = 0
        """Milliseconds since 1970."""
        if conditions.not_before is not None:
            self.not_before = to_milliseconds(conditions.not_before)
        self.networks = None if conditions.networks is None else NetworkSet(conditions.networks)
        self.observed = conditions.networks_mode == "observe"
        """Whether requests from outside the networks are counted and not refused."""
        self.endpoints = None if conditions.endpoints is None else EndpointSet(conditions.endpoints)

    def objection_by_time(self, now: int) -> ApiError | None:
        """Why the key is refused at ``now``, in milliseconds since 1970; None if it is not.

        This takes precedence over the key's expiry.
        """
        if not self.enabled:
            return DisabledCredential()
        if now < self.not_before:
            return NotYetValidCredential()
        return None

    def objection_at(self, moment: datetime) -> ApiError | None:
        """The same at a time in UTC."""
        return self.objection_by_time(to_milliseconds(moment))

    def objection_to(self, facts: Facts) -> ApiError | None:
        """Why a request is refused; None if it is not."""
        if not self.observed and self.is_elsewhere(facts.address):
            return AddressNotAllowed()
        if self.endpoints is not None:
            method, path = facts.method, facts.path
            if method is None or path is None or not self.endpoints.matches(method, path):
                return EndpointNotAllowed()
        return None

    def observes(self, facts: Facts) -> bool:
        """Whether a request is to be counted as one from outside of the observed networks."""
        return self.observed and self.is_elsewhere(facts.address)

    def is_elsewhere(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Whether the address is in none of the networks; an unknown address is in none."""
        if self.networks is None:
            return False
        return address is None or not self.networks.contains(address)
