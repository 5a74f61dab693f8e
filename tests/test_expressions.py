"""Every regular expression of the product is listed here, and is linear on its worst input.

An expression that backtracks holds the GIL, so that one request stops a whole worker. A new one
fails `test_each_is_listed` until its near misses are listed: inputs that match for as long as
possible and then do not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from latchkey.config import _HOST_NAME
from latchkey.credentials.endpoints import expression_of, parse_endpoint
from latchkey.credentials.limits import LIMIT_NAME_PATTERN, RATE_PATTERN
from latchkey.credentials.names import NAME_PATTERN
from latchkey.credentials.scopes import SCOPE_PATTERN
from latchkey.platform_variables import ENDPOINT
from latchkey_service.verify import rules as verify_rules
from latchkey_service.verify.rules import Rule
from tests.support.expressions import in_compiled, in_pages, in_python, is_linear, is_one_character

pytestmark = pytest.mark.attack

Worst = list[tuple[str, str, str]]

LISTED: dict[str, Worst] = {
    # Tokens and secrets, in headers, paths, bodies and texts that are searched for secrets.
    r"^ak_(live|test)_[0-9A-Za-z]{22}$": [("ak_live_", "a", "!")],
    r"^sk_(live|test)_[0-9A-Za-z]{71}$": [("sk_live_", "a", "!")],
    r"sk_(live|test)_[0-9A-Za-z]+": [("", "sk_live_", "!"), ("sk_live_", "a", "!"), ("", "s", "")],
    r"sk_(?:live|test)_[0-9A-Za-z]": [("", "sk_live_", "!"), ("sk_", "live_", "!")],
    r"ak_(?:live|test)_[0-9A-Za-z]": [("", "ak_live_", "!"), ("ak_", "live_", "!")],
    r"[0-9a-fA-F]{64}": [("", "a", "g"), ("", "a" * 63 + "g", "")],
    # Accounts, external ids, and keys that make a request idempotent.
    r"acct_[0-9A-Za-z]{22}": [("acct_", "a", "!"), ("", "acct_", "")],
    r"[\x21-\x7e]{1,255}": [("", "a", " ")],
    r"^[\x21-\x7e]{1,255}$": [("", "a", " "), ("", "a", "\n")],
    r"^[\x21-\x7e]{1,64}$": [("", "a", " "), ("", "a", "\n")],
    # Paths: parts of routes, and repeated slashes.
    r"(?!self$)[^/]+": [("", "self", "/"), ("", "a", "/")],
    r"/{2,}": [("", "/", "a"), ("", "/a", "")],
    # The id of a declared key.
    r"[A-Za-z0-9._-]{1,64}": [("", "a", "!")],
    # Bodies: names, times, field names.
    NAME_PATTERN: [("a", " ", ""), ("a", " a", "\n"), ("a", "a", "\x7f"), ("", "\u200b", "")],
    # Scopes, their selectors, and the methods of endpoint rules.
    r"[a-z][a-z0-9_-]{0,31}": [("a", "-", "!"), ("", "a", "A")],
    r"[A-Za-z0-9._-]{1,64}\*?": [("", "a", "!"), ("", "*", ""), ("", "a*", "")],
    # Limits: their names and rates.
    LIMIT_NAME_PATTERN: [("a", "-", "!"), ("", "a", "A"), ("", "a", "\n")],
    RATE_PATTERN: [("", "1", "a"), ("1", "0", "!"), ("1/", "second", "")],
    r"\*|[A-Z][A-Z-]{0,31}": [("", "*", ""), ("A", "-", "!"), ("", "A", "a")],
    SCOPE_PATTERN: [("a:", "a", "!"), ("", "a:", ""), ("a:b:", "c", "!"), ("", "*", "")],
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)": [
        ("2026-01-15T10:30:00.", "1", "Z"),
        ("", "2026-01-15T10:30:00", "Z"),
    ],
    r"[A-Za-z_][A-Za-z0-9_-]*": [("a", "_", "!"), ("", "a", "!")],
    r"int_.*|greater_than_equal|less_than_equal": [("int_", "a", "\n"), ("", "int_", "\n")],
    # Headers: the address that proxies pass on, the host, the session.
    r"[0-9]{1,5}|_[A-Za-z0-9._-]{1,32}": [("", "1", "a"), ("_", "a", "!")],
    r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?": [
        ("[", ":", "!"),
        ("", "[", ""),
        ("", "a", ":!"),
        ("a:", "1", ""),
    ],
    r"[A-Za-z0-9_-]{43}": [("", "a", "!"), ("", "a" * 42 + "!", "")],
    # Forms.
    r"[a-z0-9][a-z0-9._@+-]{0,63}": [("a", ".", "!"), ("", "a", "!")],
    # Settings and arguments of commands.
    r"^[A-Za-z0-9._-]{0,64}$": [("", "a", "!"), ("", "a", "\n")],
    r"(?:[^@/?]*@)?[^@/?]*(?:/[^@?]*)?(?:\?[^@]*)?": [
        ("", "a", "@@"),
        ("", "a/", "@"),
        ("a@", "?", "@"),
    ],
    # Texts that are searched for in listings.
    r"[0-9A-Za-z_]+": [("", "a", "!"), ("", "a!", "")],
    r"([\\%_])": [("", "%", ""), ("", "a", "")],
    r"\d{4}-\d\d-\d\d": [("", "2030-01-0", "!"), ("", "1", "")],
    r"([1-9][0-9]{0,5})/(second|minute|hour|day)": [
        ("1", "0", "/second"),
        ("1/", "second", "!"),
    ],
    r"^(off|[1-9][0-9]{0,5}/(second|minute|hour|day))$": [
        ("1", "0", "/second"),
        ("off", "off", ""),
    ],
    r"^(keep|[1-9][0-9]{0,4})$": [("1", "0", "!"), ("", "keep", "")],
    r"[0-9]+": [("", "1", "a"), ("", "1a", "")],
    r"[0-9]{1,9}": [("", "1", "a")],
    r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?": [
        ("", "1", "a"),
        ("1.", "1", "a"),
        (".", "1", "a"),
        ("1e", "1", "a"),
    ],
    rf"^{_HOST_NAME}(\s*,\s*{_HOST_NAME})*$": [
        ("a", ",a", "!"),
        ("a", " ", ","),
        ("a", ":1 ,a", "!"),
        ("[", ":", "!"),
    ],
    r"^0?[67][0-7]{2}$": [("0", "6", "8"), ("", "0", "")],
    # Addresses that the service listens on.
    r"[0-9]{1,5}": [("", "1", "a")],
    r"[0-9]{1,7}": [("", "1", "a")],
    r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}": [("", "a", "!"), ("a", "-", "!")],
    # Queries in the URLs that `latchkey verify explain` is given.
    r"[!-~]*": [("", "a", " ")],
    # The placeholder of a statement, as SQLAlchemy writes it.
    r"%\(\w+\)s": [("%(", "a", "!"), ("", "%(a", ""), ("", "%", "")],
    # Variables that a platform injects.
    r"_SERVICE_(HOST$|PORT(?=_|$))": [("", "_SERVICE_", ""), ("", "_SERVICE_PORT", "!")],
    ENDPOINT: [("A", "_PORT", "!"), ("A", "_PORT_1_TCP_", "!"), ("A", "_PORT_1_TCP_PORT_", "!")],
    r"(tcp|udp|sctp)://(?P<host>[0-9.]+|\[[0-9a-f:.]+\]):[0-9]{1,5}": [
        ("tcp://", "1", "!"),
        ("tcp://[", ":", "!"),
        ("", "tcp://", ""),
    ],
    r"(/[A-Za-z0-9_.-]+){2}": [("/", "a", "!"), ("", "/a", "!")],
    # Requests as they arrive.
    r"(?<!\r)\n": [("", "\r\n", ""), ("", "\r", "")],
    r"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*(?=\r\n)": [
        ("\r\ncontent-length:", " ", "!"),
        ("", "\r\ncontent-length:1", "!"),
        ("\r\ncontent-length:1", " ", "!"),
        ("", "\r\n", ""),
    ],
    r"\r\ntransfer-encoding:([^\r]*)": [
        ("\r\ntransfer-encoding:", " ", "\r"),
        ("", "\r\ntransfer-encoding", ""),
    ],
    r"\r\nexpect:": [("", "\r\nexpect", ""), ("", "\r\n", "")],
    r"([0-9a-fA-F]+)[ \t]*(?:;[^\r\n]*)?": [("1", " ", "!"), ("1;", ";", "\r"), ("", "1", "!")],
}


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """The places of each expression, except those that match a single character class."""
    places: dict[str, list[str]] = {}
    for expression in in_python():
        if not is_one_character(expression.pattern):
            places.setdefault(expression.pattern, []).append(expression.place)
    return places


def test_each_is_listed(found: dict[str, list[str]]) -> None:
    assert {pattern: at for pattern, at in found.items() if pattern not in LISTED} == {}
    assert set(LISTED) - set(found) == set(), "no longer in the source"


def test_scripts_pages_and_compiled_code_have_none() -> None:
    assert in_pages() == []
    assert in_compiled() == []


@pytest.mark.parametrize("pattern", LISTED)
def test_is_linear(pattern: str, long: bool) -> None:
    assert LISTED[pattern], "list at least one near miss"
    assert is_linear(pattern, LISTED[pattern], thorough=long)


@pytest.mark.parametrize(
    "rule", ["GET /a/*/b", "* /**", "GET /*/*/*/*/*/**", "POST /a/a/a/**", "* /*/a/*/a/*/a/**"]
)
def test_the_expression_of_an_endpoint_rule_is_linear(rule: str, long: bool) -> None:
    pattern = expression_of([parse_endpoint(rule)] * 3)
    worst = [("GET ", "/a", "\n"), ("GET /", "a", "/"), ("", "G", " /"), ("GET ", "/", "a")]
    assert is_linear(pattern, worst, thorough=long)


@pytest.mark.parametrize(
    ("host", "method", "path"), [("*", "*", "/**"), ("*.a.a.a.a", "GET", "/*/a/*/**")]
)
def test_the_expression_of_a_verify_rule_is_linear(
    host: str, method: str, path: str, long: bool
) -> None:
    rule = Rule(1, host, (parse_endpoint(f"{method} {path}"),))
    worst = [
        *[("a.a GET ", "/a", "\n"), ("example.com POST /", "a", "/"), ("", "a.", " GET /a/")],
        *[("", " ", "/"), ("x.example.com GET /a/", "a", "/"), ("", ".example.com", " GET /")],
    ]
    assert is_linear(verify_rules.expression_of([rule] * 3), worst, thorough=long)


@pytest.mark.parametrize(
    ("pattern", "worst"),
    [
        (r"(a+)+$", [("", "a", "!")]),
        (r"/console/([a-z]+/?)*", [("/console/", "a", "!")]),
        (r"\s+$", [("", " ", "x")]),
        (r"^(a|aa)*b", [("", "a", "!")]),
        (r"[a-z]*[a-z0-9]*[a-z]*x", [("", "a", "!")]),
    ],
)
def test_an_expression_that_backtracks_is_found(pattern: str, worst: Worst) -> None:
    assert not is_linear(pattern, worst, patience=1)


@pytest.mark.parametrize(
    "source",
    [
        "import re\nX = re.compile('x+y')",
        "import re\ndef f(t):\n    return re.search('x+y', t)",
        "A = Field(pattern='x+y')",
        "A = StringConstraints(pattern='x' + '+y')",
        "A = Regexp('x+y')",
        "class C(BaseConverter):\n    regex = 'x+y'",
        "S = {'type': 'string', 'pattern': 'x+y'}",
        "import re\nP = 'x+y'\nX = re.compile(P)",
    ],
)
def test_every_form_is_found(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / f"made_for_a_test_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    # Evaluated expressions are evaluated in the module.
    stubs = "def Field(**_): pass\nStringConstraints = Field\ndef Regexp(*_): pass\n"
    (package / "module.py").write_text(f"{stubs}class BaseConverter: pass\n{source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = in_python(tmp_path, [package.name])
    assert [expression.pattern for expression in found] == ["x+y"]


@pytest.mark.parametrize(
    "source",
    [
        "from re import compile",
        "import re as regular",
        "import fnmatch",
        "import re\ndef f(p, t):\n    return re.match(p, t)",
    ],
)
def test_an_expression_that_cannot_be_listed_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "latchkey").mkdir()
    (tmp_path / "latchkey" / "errors.py").write_text(source)
    with pytest.raises(LookupError):
        in_python(tmp_path, ["latchkey"])
