"""Limits on the command line: options, what remains, resets, import and export, and apply."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from latchkey.credentials.limits import Limit
from latchkey_service.shapes.limit_texts import (
    parse_quota_text,
    parse_rate_text,
    readable_limits,
)
from tests.support.command_line import fails, listed, made, shown
from tests.support.latchkey_command import run, run_here
from tests.support.service import Pair, Service

RATE = {"name": "default", "rate": "100/minute", "burst": 20}
QUOTA = {"name": "monthly", "quota": 1000000, "period": "month", "refill_on": 5}
OPTIONS = ("--limit", "100/minute,burst=20", "--quota", "monthly=1000000/month,refill_on=5")
TOTAL = {"name": "credits", "quota": 50, "period": "total"}


def asked(box: Service, *arguments: str) -> dict[str, Any]:
    fields = json.loads(run(box, *arguments, "--json"))
    assert isinstance(fields, dict)
    return fields


# ---- Options


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100/minute", {"name": "default", "rate": "100/minute", "burst": 100}),
        (" burst=5/day , burst=2 ", {"name": "burst", "rate": "5/day", "burst": 2}),
        ("a-1=1/second,burst=1", {"name": "a-1", "rate": "1/second", "burst": 1}),
    ],
)
def test_a_rate_is_parsed(text: str, expected: dict[str, object]) -> None:
    assert parse_rate_text(text).to_json() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5/day", {"name": "quota", "quota": 5, "period": "day"}),
        ("x=7/month", {"name": "x", "quota": 7, "period": "month", "refill_on": 1}),
        ("7/month,refill_on=28", {"name": "quota", "quota": 7, "period": "month", "refill_on": 28}),
        ("50/total", {"name": "quota", "quota": 50, "period": "total"}),
    ],
)
def test_a_quota_is_parsed(text: str, expected: dict[str, object]) -> None:
    assert parse_quota_text(text).to_json() == expected


def test_limits_in_words() -> None:
    limits: list[Limit] = [
        parse_rate_text("1000/second"),
        parse_rate_text("slow=5/day,burst=1"),
        parse_quota_text("1000000/month,refill_on=5"),
        parse_quota_text("t=50/total"),
    ]
    assert readable_limits(limits) == (
        "default: 1,000 per second; slow: 5 per day, at most 1 at once; "
        "quota: quota of 1,000,000 per month, from day 5; t: quota of 50 in total"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "100"], "Invalid value for '--limit': write a rate as 100/minute; periods"),
        (["--limit", "100/month"], "Invalid value for '--limit': write a rate as 100/minute"),
        (["--limit", "1e3/day"], "Invalid value for '--limit': write a rate as 100/minute"),
        (["--limit", "2000000/second"], "a rate is at most 1,000,000 per second"),
        (["--limit", "Bad=1/day"], "the name of a limit has up to 32 lower-case letters"),
        (["--limit", "1/day,burst=x"], "after the comma, write burst=NUMBER"),
        (["--limit", "1/day,bursts=2"], "after the comma, write burst=NUMBER"),
        (["--limit", "1/day,burst=0"], "burst must be at least 1"),
        (["--limit", "1/day,burst=400"], "the burst must be available again within 366 days"),
        (["--quota", "1/minute"], "Invalid value for '--quota': write a quota as 1000000/month"),
        (["--quota", "x/day"], "write a quota as 1000000/month"),
        (["--quota", "0/day"], "a quota is 1 to 1,000,000,000,000"),
        (["--quota", "5/day,refill_on=2"], "refill_on is only for the period month"),
        (["--quota", "5/month,refill_on=29"], "refill_on is a day from 1 to 28"),
        (["--limit", "1/day", "--no-limits"], "Give --no-limits, or --limit and --quota, not"),
    ],
)
def test_an_invalid_option(box: Service, options: list[str], said: str) -> None:
    for command in (["keys", "create", "--name", "x"], ["accounts", "change", "x"]):
        message = fails(box, *command, *options, status=2)
        last = message.splitlines()[-1]
        assert last.startswith("Error: ")
        assert said in last


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "1/day", "--limit", "2/day"], "limits.1.name: the name default is used twice"),
        ([part for n in range(5) for part in ("--limit", f"n{n}=1/day")], "limits: must have at"),
    ],
)
def test_limits_that_do_not_fit_together(box: Service, options: list[str], said: str) -> None:
    message = fails(box, "keys", "create", "--name", "x", *options)
    assert message.startswith(f"latchkey: {said}")
    assert message.count("\n") == 1


# ---- Keys and accounts


def test_the_limits_of_a_key(box: Service) -> None:
    key = made(box, "live", *OPTIONS)
    assert shown(box, key.api_key)["limits"] == [RATE, QUOTA]
    text = run(box, "keys", "show", key.api_key)
    assert "default: 100 per minute, at most 20 at once; monthly: quota of 1,000,000" in text
    changed = asked(box, "keys", "change", key.api_key, "--quota", "50/day")
    assert changed["limits"] == [{"name": "quota", "quota": 50, "period": "day"}]
    # Other changes keep them.
    assert asked(box, "keys", "change", key.api_key, "--name", "y")["limits"] == changed["limits"]
    assert asked(box, "keys", "change", key.api_key, "--no-limits")["limits"] is None


def test_the_limits_of_an_account(box: Service) -> None:
    account = asked(box, "accounts", "create", "--name", "Limited", *OPTIONS)
    assert account["limits"] == [RATE, QUOTA]
    changed = asked(box, "accounts", "change", account["id"], "--limit", "5/second")
    assert changed["limits"] == [{"name": "default", "rate": "5/second", "burst": 5}]
    assert asked(box, "accounts", "change", account["id"], "--no-limits")["limits"] is None


# ---- What remains, and resets


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("limited")
    with Service(directory) as service:
        yield service


def statuses(service: Service, key: Pair, times: int) -> list[int]:
    return [service.get("/v1/account", key.bearer).status for _ in range(times)]


def remaining(service: Service, holder: str) -> dict[str, Any]:
    fields = asked(service, "limits", "show", holder)
    return {one["name"]: one["remaining"] for one in fields["remaining"]}


def test_what_remains_comes_from_the_memory_of_the_service(running: Service) -> None:
    key = running.create_key("live", "--limit", "5/hour", "--quota", "3/total", name="limited")
    assert remaining(running, key.api_key) == {"default": 5, "quota": 3}
    assert statuses(running, key, 4) == [200, 200, 200, 429]
    fields = asked(running, "limits", "show", key.api_key)
    assert fields["remaining_from"] == "memory"
    rate, quota = fields["remaining"]
    assert (rate["remaining"], rate["source"]) == (2, "key")
    assert rate["reset_at"] is not None
    assert (quota["remaining"], quota["reset_at"]) == (0, None)
    shown_too = asked(running, "keys", "show", key.api_key)["remaining"]
    assert [one["remaining"] for one in shown_too] == [2, 0]


def test_a_reset_takes_effect_before_the_command_returns(running: Service) -> None:
    key = running.create_key("live", "--limit", "2/hour", "--quota", "3/day", name="reset")
    assert statuses(running, key, 3) == [200, 200, 429]
    done = asked(running, "limits", "reset", key.api_key, "--name", "default", "--yes")
    assert (done["reset"], done["service_running"]) == (["default"], True)
    # The quota still admits one.
    assert statuses(running, key, 2) == [200, 429]
    asked(running, "limits", "reset", key.api_key, "--yes")
    assert statuses(running, key, 3) == [200, 200, 429]
    rows = asked(running, "audit", "list", "--key", key.api_key)["entries"]
    assert [one["action"] for one in rows][:2] == ["key.change"] * 2


def test_a_reset_of_an_account_includes_both_modes(running: Service) -> None:
    account = asked(running, "accounts", "create", "--name", "A", "--limit", "1/hour")["id"]
    keys = [
        running.create_key(mode, "--account", account, "--scope", "account:read", name="a")
        for mode in ("live", "test")
    ]
    for key in keys:
        assert statuses(running, key, 2) == [200, 429]
    assert asked(running, "limits", "reset", account, "--yes")["reset"] == ["default"]
    for key in keys:
        assert statuses(running, key, 2) == [200, 429]


def test_a_reset_names_the_keys_that_share_the_limits(running: Service) -> None:
    key = running.create_key("live", "--limit", "1/hour", name="rotated")
    rotated = asked(running, "keys", "rotate", key.api_key)
    assert rotated["limits_of"] == key.api_key
    for one, other in ((key.api_key, rotated["api_key"]), (rotated["api_key"], key.api_key)):
        done = asked(running, "limits", "reset", one, "--yes")
        assert done["also_affected"] == {"total": 1, "first": [other]}
    said = run(running, "limits", "reset", key.api_key, "--yes")
    assert said.splitlines()[-1] == f"1 other key shares these limits: {rotated['api_key']}."


def test_without_a_service_the_database_is_shown(box: Service) -> None:
    key = made(box, "live", "--limit", "5/hour", "--quota", "3/total")
    fields = asked(box, "limits", "show", key.api_key)
    assert fields["remaining_from"] == "database"
    assert [one["remaining"] for one in fields["remaining"]] == [5, 3]
    printed = run_here(box, "limits", "show", key.api_key)
    assert printed.stdout.splitlines() == [
        "source\tlimit\tallows\tleft\tfull again",
        "key\tdefault\t5 per hour\t5\tnow",
        "key\tquota\tquota of 3 in total\t3\tnever",
    ]
    assert printed.stderr.startswith("No memory of a running service was found: rates are")
    done = asked(box, "limits", "reset", key.api_key, "--yes")
    assert (done["reset"], done["service_running"]) == (["default", "quota"], False)


def test_resets_that_are_refused(box: Service) -> None:
    key = made(box)
    said = fails(box, "limits", "reset", key.api_key, "--yes")
    assert said == "latchkey: name: there are no limits to reset\n"
    limited = made(box, "live", "--limit", "5/hour")
    said = fails(box, "limits", "reset", limited.api_key, "--name", "other", "--yes")
    assert said == "latchkey: name: there is no limit with this name; choose default\n"
    assert "asks for confirmation" in fails(box, "limits", "reset", limited.api_key)
    for command in ("show", "reset"):
        assert fails(box, "limits", command, limited.api_secret).startswith("latchkey: No such acc")


# ---- Import, export and apply


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_exported_limits_can_be_imported(box: Service, tmp_path: Path, form: str) -> None:
    key = made(box, "live", *OPTIONS, name=f"exported {form}")
    token = hashlib.sha256(f"{form} {key.api_key}".encode()).hexdigest()
    exported = run(box, "keys", "export", "--format", form)
    file = tmp_path / "keys"
    if form == "jsonl":
        lines = map(json.loads, exported.splitlines())
        (row,) = [one for one in lines if one["api_key"] == key.api_key]
        file.write_text(json.dumps({"name": "in", "sha256": token, "limits": row["limits"]}))
    else:
        rows = csv.DictReader(exported.splitlines())
        (row,) = [one for one in rows if one["api_key"] == key.api_key]
        with file.open("w", newline="") as output:
            writer = csv.writer(output)
            writer.writerows([["name", "sha256", "limits"], ["in", token, row["limits"]]])
    (api_key,) = asked(box, "keys", "import", str(file))["api_keys"]
    assert shown(box, api_key)["limits"] == [RATE, QUOTA]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ("[{", "limits: is not JSON"),
        ('[{"rate":"100/year"}]', "limits.0.rate: write a rate as 100/minute"),
        ('[{"quota":5}]', "limits.0.period: is required"),
        ('{"rate":"1/day"}', "limits: must be a list"),
    ],
)
def test_invalid_limits_in_a_file(box: Service, limits: str, reason: str) -> None:
    cell = limits.replace('"', '""')
    text = f'name,sha256,limits\nx,{"0a" * 32},"{cell}"\n'
    done = run_here(box, "keys", "import", "-", standard_input=text)
    assert done.returncode == 1
    assert done.stderr.startswith(f"line 2: {reason}")


DECLARED = """
[[accounts]]
external_id = "limited"
name = "Limited"
limits = [{ name = "monthly", quota = 1000, period = "month" }]

[[accounts.keys]]
id = "production"
name = "production"
scopes = ["orders:read"]
limits = [{ rate = "100/minute", burst = 20 }, { name = "credits", quota = 50, period = "total" }]
"""


def test_limits_are_declared(box: Service) -> None:
    file = box.directory / "keys.toml"

    def apply(text: str, *options: str) -> list[str]:
        file.write_text(text)
        done = run_here(box, "apply", str(file), *options)
        assert done.returncode in (0, 3), done.stderr
        return done.stdout.splitlines()

    plan = apply(DECLARED, "--dry-run")
    assert "              limits: monthly: quota of 1,000 per month" in plan
    assert (
        "              limits: default: 100 per minute, at most 20 at once; credits: "
        in "".join(plan)
    )
    apply(DECLARED, "--yes")
    (key,) = listed(box, "--account", "limited")
    assert key["limits"] == [RATE, TOTAL]
    assert apply(DECLARED, "--yes")[-1] == "nothing to change"
    other = DECLARED.replace("quota = 1000", "quota = 2000").replace('rate = "100', 'rate = "200')
    assert "              limits: monthly: quota of 1,000 per month -> monthly: quota of 2,000" in (
        "\n".join(apply(other, "--yes"))
    )
    (key,) = listed(box, "--account", "limited")
    assert key["limits"][0]["rate"] == "200/minute"
    without = "\n".join(line for line in DECLARED.splitlines() if "limits" not in line)
    plan = apply(without, "--yes")
    assert "              limits: monthly: quota of 2,000 per month -> none" in plan
    (key,) = listed(box, "--account", "limited")
    assert key["limits"] is None
