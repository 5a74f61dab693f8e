"""The routes file: the rules of ``/verify``, in TOML, and what is wrong with them, by line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from latchkey.config import Settings, variable
from latchkey.credentials.endpoints import EndpointRule, parse_endpoint
from latchkey.credentials.granting import parse_allowed, require_allowed
from latchkey.credentials.models import Mode
from latchkey.credentials.scopes import MOST_SCOPES, parse_scope
from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import ConfigurationError, InvalidField
from latchkey.files.shared_places import open_regular
from latchkey_service.shapes.conditions import RequestModel
from latchkey_service.shapes.fields import Scope
from latchkey_service.shapes.problems import shown_name, validated
from latchkey_service.verify.rules import ANY_HOST, LONGEST_HOST, Rule, Rules

LARGEST_FILE = 256 << 10
"""Bytes of a routes file."""
MOST_RULES = 256
"""The most rules of a file."""
LARGEST_COST = 1_000_000

_TABLE = "rule"
_HEADER = "[[rule]]"
_HIDDEN = "a name that looks like a secret"
_HOST_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_OF_AN_ADDRESS = frozenset("0123456789abcdef:.")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _RuleBody(RequestModel):
    path: str
    host: str = ANY_HOST
    method: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1, max_length=32)] = (
        Field(default=["*"])
    )
    scopes: Annotated[list[Scope], Field(min_length=1)] = Field(default=[])
    scope_any: Annotated[list[Scope], Field(min_length=1)] = Field(default=[])
    mode: Mode | None = None
    cost: Annotated[int, Field(ge=1, le=LARGEST_COST)] = 1
    open: bool = False


class InvalidRules(ConfigurationError):
    """A routes file that cannot be used. The message has the first problem; ``problems`` all."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        more = len(problems) - 1
        super().__init__(f"{problems[0]}{f' (and {more} more)' if more else ''}")


def load_rules(settings: Settings) -> Rules | None:
    """The rules of the file that the settings name; None if they name none.

    Raises ConfigurationError if the file cannot be read or is invalid.
    """
    if not settings.verify_routes:
        return None
    path = Path(settings.verify_routes).absolute()
    what = f"{variable('verify_routes')}: {path}"
    try:
        with open(open_regular(path, trusted=True), "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{what}: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(f"{what}: more than {LARGEST_FILE} bytes: merge some rules")
    return read_rules(content, what)


def read_rules(content: bytes, name: str) -> Rules:
    """The rules of a file's content; messages begin with ``name``. Raises InvalidRules."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidRules([f"{name}:{line}: not UTF-8: save the file in UTF-8"]) from None
    # TOML ends a line with \n or \r\n only.
    lines = text.split("\n")
    given = _tables(text, len(lines), name)
    starts = [
        number
        for number, line in enumerate(lines, 1)
        if "".join(line.partition("#")[0].split()) == _HEADER
    ]
    if not given:
        raise InvalidRules(
            [f"{name}:1: there is no rule, and every request would be refused: add a {_HEADER}"]
        )
    if len(starts) != len(given):
        raise InvalidRules([f"{name}:1: write each rule as a table under a line {_HEADER}"])
    if len(given) > MOST_RULES:
        raise InvalidRules(
            [f"{name}:{starts[MOST_RULES]}: more than {MOST_RULES} rules: merge some by path"]
        )
    rules: list[Rule] = []
    problems: list[str] = []
    for start, end, one in zip(starts, [*starts[1:], len(lines) + 1], given, strict=True):
        try:
            rules.append(_rule(one, start))
        except InvalidField as error:
            line = _line_of(error.field, lines, start, end)
            problems.append(f"{name}:{line}: {error.message}")
    if problems:
        raise InvalidRules(problems)
    return Rules(rules)


def warnings_about(rules: Rules, settings: Settings) -> list[str]:
    """A line for each rule that can never match, and for each scope that no key can be given."""
    name = Path(settings.verify_routes).absolute()
    found = [
        (rule.line, f"never matches, because line {earlier.line} matches all its requests")
        for rule, earlier in rules.unreachable()
    ]
    allowed = parse_allowed(settings.scopes)
    for rule in rules.rules:
        for scope in (*rule.scopes, *rule.scope_any):
            try:
                require_allowed([scope], allowed)
            except InvalidField:
                found.append((rule.line, f"{scope} is not listed in {variable('scopes')}"))
    return [f"{name}:{line}: {problem}" for line, problem in sorted(found)]


def _tables(text: str, lines: int, name: str) -> list[Mapping[str, Any]]:
    """The tables of the rules, as TOML has them."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, place = str(error).partition(" (at ")
        line = place.removeprefix("line ").partition(",")[0]
        shown = line if line.isdecimal() else str(lines)
        raise InvalidRules([f"{name}:{shown}: not valid TOML: {redact_secrets(problem)}"]) from None
    except RecursionError:
        raise InvalidRules([f"{name}:1: the file is nested too deeply"]) from None
    except ValueError:
        raise InvalidRules([f"{name}:1: the file has a number that is too long"]) from None
    tables = content.pop(_TABLE, [])
    for key in content:
        at = _line_of(key, text.split("\n"), 0, lines + 1)
        shown = shown_name(key, _HIDDEN)
        raise InvalidRules([f"{name}:{at}: {shown} is unknown here: the file has {_HEADER} tables"])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise InvalidRules([f"{name}:1: write each rule as a table under a line {_HEADER}"])
    return tables


def _rule(given: Mapping[str, Any], line: int) -> Rule:
    for name in given:
        if redact_secrets(name) != name:
            raise InvalidField(_HIDDEN, "is unknown here; remove it")
    body = validated(_RuleBody, given)
    _check_scopes("scopes", body.scopes)
    _check_scopes("scope_any", body.scope_any)
    if body.open:
        for field in ("scopes", "scope_any", "mode", "cost"):
            if field in body.model_fields_set:
                raise InvalidField("open", f"contradicts {field}: an open route needs no key")
    return Rule(
        line=line,
        host=_host(body.host),
        endpoints=_endpoints(body.method, body.path),
        scopes=tuple(body.scopes),
        scope_any=tuple(body.scope_any),
        mode=body.mode,
        cost=body.cost,
        open=body.open,
    )


def _check_scopes(field: str, scopes: list[str]) -> None:
    for number, scope in enumerate(scopes):
        try:
            parse_scope(scope)
        except ValueError as error:
            raise InvalidField(f"{field}.{number}", str(error)) from None
    if len(scopes) > MOST_SCOPES:
        raise InvalidField(field, f"at most {MOST_SCOPES} scopes are allowed")


def _endpoints(methods: Iterable[str], path: str) -> tuple[EndpointRule, ...]:
    if not path.startswith("/"):
        raise InvalidField("path", "must begin with a slash")
    try:
        parse_endpoint(f"* {path}")
    except ValueError as error:
        raise InvalidField("path", str(error)) from None
    found: dict[EndpointRule, None] = {}
    for method in methods:
        try:
            found[parse_endpoint(f"{method} {path}")] = None
        except ValueError:
            raise InvalidField("method", "must be a method such as GET, or *") from None
    return tuple(found)


def _host(text: str) -> str:
    """A host in lower case; raises InvalidField unless it is exact, ``*.`` and a name, or ``*``."""
    host = text.lower()
    if host == ANY_HOST:
        return host
    if host.startswith("[") and host.endswith("]") and set(host[1:-1]) <= _OF_AN_ADDRESS:
        return host
    labels = host.removeprefix("*.").split(".")
    good = all(0 < len(label) <= 63 and set(label) <= _HOST_LETTERS for label in labels)
    if not good or len(host) > LONGEST_HOST:
        raise InvalidField(
            "host", "must be a name such as api.example.com or *.example.com, without a port"
        )
    return host


def _line_of(field: str, lines: list[str], start: int, end: int) -> int:
    """The line with the value of a field, searched after ``start``; ``start`` if there is none."""
    name = field.partition(".")[0]
    for number in range(start + 1, end):
        key, equals, _ = lines[number - 1].partition("=")
        if equals and key.strip().strip("\"'") == name:
            return number
    return max(start, 1)
