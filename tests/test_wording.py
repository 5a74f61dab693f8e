"""Singular and plural: the function, and a search for fixed plurals in the sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from latchkey.credentials.audit_findings import Finding, Restart, messages
from latchkey.wording import counted

# A number before a plural noun, independent of the number.
_FIXED_PLURAL = re.compile(
    r"(?:%d|\{[^{}\"']*\}|\}\}) (?:\w+ )?(?:keys|lines|rows|columns|credentials|administrators|"
    r"sessions|requests|entries|findings|workers|days|hours|minutes|seconds|files)\b"
)
# Never one, or not a number.
_ALLOWED = (
    "{_MAX_KEYS} keys",
    "{AUDIT_KEY_LENGTH} bytes",
    "{DERIVATION_KEY_LENGTH} bytes",
    "{{ plot.unit }} with",
    "{caller.mode} key cannot create {mode} keys",
)


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("key",), "0 keys"),
        (1, ("key",), "1 key"),
        (2, ("key",), "2 keys"),
        (1, ("entry", "entries"), "1 entry"),
        (3, ("entry", "entries"), "3 entries"),
        (1, ("active credential",), "1 active credential"),
    ],
)
def test_counted(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


def test_no_text_has_a_fixed_plural_after_a_number() -> None:
    found = []
    root = Path(__file__).parents[1]
    sources = [path for name in ("app", "latchkey") for path in (root / name).rglob("*")]
    for path in sorted(path for path in sources if path.suffix in (".py", ".html")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line
            for allowed in _ALLOWED:
                text = text.replace(allowed, "")
            if _FIXED_PLURAL.search(text):
                found.append(f"{path.name}:{number}: {line.strip()}")
    assert found == []


def test_one_finding_and_one_row() -> None:
    findings = [Finding("missing", row, row) for row in range(1, 43, 2)]
    assert messages(findings)[-1] == "and 1 more finding"
    assert messages([*findings, Finding("missing", 50, 50)])[-1] == "and 2 more findings"
    assert "; row 1 cannot be verified with this key" in Restart(2, "at", "by", True).message
    assert "; rows 1 to 2 cannot be verified" in Restart(3, "at", "by", True).message
