"""Comparing a box that starts with the boxes that use the same database already."""

from __future__ import annotations

from collections.abc import Iterable

from latchkey.box.registration import Identity, identity_of
from latchkey.config import Settings
from latchkey.errors import ConfigurationError, StoreError
from latchkey.store.protocols import Box, Store
from latchkey.wording import counted

# A box that has confirmed nothing for this number of leases counts as killed.
_LEASES = 2


def differences(store: Store, settings: Settings, derivation_ids: Iterable[str]) -> list[str]:
    """Warnings about running boxes with other derivation keys, one line each.

    ``derivation_ids`` begin with the one that new keys are made with. Raises ConfigurationError if
    a running box and this one have no derivation key in common, because each would refuse the keys
    that the other one creates. Raises it also if the database cannot be used.
    """
    if store.boxes is None:
        return []
    identity = identity_of(settings, derivation_ids, store.boxes.revision)
    try:
        live = store.boxes.live()
    except StoreError as error:
        raise ConfigurationError(f"the database cannot be used: {error.detail}") from None
    return [
        line
        for box in live
        if box.unseen_ms <= _LEASES * box.lease_ms
        for line in _differences(box, identity)
    ]


def _differences(box: Box, identity: Identity) -> list[str]:
    own, others = set(identity.derivation_ids), set(box.derivation_ids)
    if not own & others:
        raise ConfigurationError(
            f"the box {_shown(box)} uses this database with other derivation keys: give all boxes "
            "the same keys; if that box was killed, try again after twice its LATCHKEY_LEASE"
        )
    lines = []
    if own != others:
        here, there = counted(len(own - others), "key"), counted(len(others - own), "key")
        lines.append(
            f"the box {_shown(box)} has other derivation keys: {here} only here, {there} only "
            "there; credentials made with those are refused where they are missing; give all boxes "
            "the same keys"
        )
    elif identity.derivation_ids[0] != box.derivation_ids[0]:
        lines.append(
            f"the box {_shown(box)} has another derivation key on the first line: forms of the "
            "console from one of the boxes are refused by the other; give all boxes the same first "
            "line"
        )
    return lines


def _shown(box: Box) -> str:
    return f"{box.name} ({box.id}, started {box.started_at:%Y-%m-%d %H:%M:%S} UTC)"
