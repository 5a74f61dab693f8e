"""Upgrades: what each released version left is served by this one, with nothing lost.

The instances in tests/data/upgrade were recorded by the versions that their directories are named
for. `python -m tests.support.recorded`, in a checkout of the release, makes the next one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.recorded import (
    ROOT,
    Key,
    audit_rows,
    latest_tag,
    memory_layout,
    put_in_place,
    read,
    uses,
)
from tests.support.service import Service

RECORDED = sorted((ROOT / "tests" / "data" / "upgrade").iterdir())


def status(service: Service, key: Key) -> int:
    return service.get("/v1/account", key.bearer).status


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.name)
def test_the_data_of_a_release_is_served(recorded: Path, tmp_path: Path) -> None:
    expected = read(recorded)
    assert expected.version == recorded.name
    service = Service(tmp_path)
    put_in_place(recorded, service)
    with service:
        for key in expected.keys:
            assert (status(service, key) == 200) is key.accepted, key.name
        made = service.create_key(name="of the new version")
        assert service.get("/v1/account", made.bearer).status == 200
        for key in expected.keys:
            assert uses(service, key.api_key) == key.uses + key.accepted, key.name
    service.command("audit", "verify")
    rows = audit_rows(service)
    count = len(expected.audit_rows)
    kept = [
        {name: row[name] for name in recorded}
        for row, recorded in zip(rows, expected.audit_rows, strict=False)
    ]
    # The MACs of version 0.2 are replaced.
    assert [{**row, "mac": ""} for row in kept] == [
        {**row, "mac": ""} for row in expected.audit_rows
    ]
    assert rows[count]["action"] == "audit.rechain"
    rechained = json.loads(rows[count]["detail"])
    assert (rechained["rows"], rechained["mac"]) == (count, expected.audit_rows[-1]["mac"])
    assert "findings" not in rechained
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["subject"] == made.api_key


def test_another_layout_of_shared_memory_has_another_number() -> None:
    """The master of an upgrade joins the memory of the old one, if the numbers are equal."""
    number, regions = memory_layout()
    for recorded in RECORDED:
        expected = read(recorded)
        if expected.layout == number:
            assert {name: list(region) for name, region in regions.items()} == expected.regions


def test_the_latest_release_is_recorded() -> None:
    """Of a checkout without tags, nothing is known of releases."""
    tag = latest_tag()
    assert tag is None or tag.removeprefix("v") in [path.name for path in RECORDED]
