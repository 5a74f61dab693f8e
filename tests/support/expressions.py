"""Finds every regular expression in the source, and generates its worst inputs."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

SIZES = (16 << 10, 32 << 10)
"""An expression that is not linear takes minutes at the second, at the latest."""
LARGE = 1 << 19

_NAMED = {"pattern", "regex", "regexp"}
_MAKERS = {"Regexp", "Pattern", "RegexConverter"}
_FUNCTIONS = {
    "compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer",
    "template",
}  # fmt: skip
_OTHER_ENGINES = {"regex", "re2", "fnmatch", "glob", "sre_compile"}
# The characters before a slash that starts an expression in JavaScript.
_SCRIPT = re.compile(r"(?:[=(,:;!&|?{}\[]|\breturn)\s*/(?![/*])|\bRegExp\b|\bpattern\s*=")
_HTML = re.compile(r"\bpattern\s*=")


@dataclass(frozen=True)
class Expression:
    """An expression and its place in the source."""

    pattern: str
    place: str


COMPOSED = {
    "latchkey/credentials/endpoints.py": (
        "expression_of(patterns)",
        "rule.method",
        "_as_wsgi(segment)",
    ),
    "app/latchkey_service/verify/rules.py": ("expression_of(self.rules)",),
}
"""Arguments that are composed at run time, by module; tests time the expressions separately."""


def in_python(
    root: Path = ROOT, packages: Sequence[str] = ("app", "fastcache", "latchkey")
) -> list[Expression]:
    """Every expression in the Python source; raises LookupError for one that is not constant."""
    found = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            found += list(_of_module(path.read_text(), str(path.relative_to(root))))
    return found


def in_pages(root: Path = ROOT) -> list[str]:
    """Lines of scripts and templates that may contain an expression."""
    found = []
    for kind, looks in ((".js", _SCRIPT), (".html", _HTML)):
        for path in sorted((root / "app").rglob(f"*{kind}")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if looks.search(line.partition("//")[0]):
                    found.append(f"{path.relative_to(root)}:{number}: {line.strip()}")
    return found


def in_compiled(root: Path = ROOT) -> list[str]:
    """The compiled modules that may use an expression."""
    return [
        f"{path.relative_to(root)}: {line}"
        for package in ("app", "fastcache", "latchkey")
        for path in sorted((root / package).rglob("*.pyx"))
        for line in path.read_text().splitlines()
        if re.match(r"\s*(?:import|from|cimport)\s+(?:re|regex|fnmatch|glob)\b", line)
    ]


def _of_module(source: str, place: str) -> Iterator[Expression]:
    for node in ast.walk(ast.parse(source)):
        at = f"{place}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            _check_import(node, at)
        elif isinstance(node, ast.Call):
            for argument in _arguments(node):
                if ast.unparse(argument) not in COMPOSED.get(place, ()):
                    yield Expression(_text_of(argument, place, at), at)
        elif isinstance(node, ast.ClassDef):
            # A converter of werkzeug has its expression in an attribute.
            for line in node.body:
                if isinstance(line, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id in _NAMED for target in line.targets
                ):
                    yield Expression(_text_of(line.value, place, at), at)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in _NAMED:
                    yield Expression(_text_of(value, place, at), at)


def _check_import(node: ast.Import | ast.ImportFrom, at: str) -> None:
    """Permit only `import re`: uses under another name would not be found."""
    if isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
        if node.module == "re":
            raise LookupError(f"{at}: write `import re`, so that its uses are found")
    else:
        names = [alias.name for alias in node.names]
        if any(alias.name == "re" and alias.asname for alias in node.names):
            raise LookupError(f"{at}: write `import re`, so that its uses are found")
    if _OTHER_ENGINES & {name.partition(".")[0] for name in names}:
        raise LookupError(f"{at}: {names} also makes regular expressions; list what it does")


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    function = call.func
    if (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "re"
        and function.attr in _FUNCTIONS
    ) or (isinstance(function, ast.Name) and function.id in _MAKERS):
        yield call.args[0]
    for keyword in call.keywords:
        if keyword.arg in _NAMED:
            yield keyword.value


def _text_of(node: ast.expr, place: str, at: str) -> str:
    """The text of an expression, from constants of its module."""
    value: Any
    if isinstance(node, ast.Constant):
        value = node.value
    else:
        module = importlib.import_module(
            place.removeprefix("app/").removesuffix(".py").replace("/", ".")
        )
        try:
            value = eval(ast.unparse(node), dict(vars(module)))  # noqa: S307 - of our own source
        except NameError as error:
            raise LookupError(f"{at}: {error}; make the expression a constant") from error
    if isinstance(value, re.Pattern):
        value = value.pattern
    if isinstance(value, bytes):
        # The bytes have the same numbers as the characters.
        value = value.decode("latin-1")
    if not isinstance(value, str):
        raise LookupError(f"{at}: the expression is {value!r}, no text")
    return value


# ---------------------------------------------------------------- worst inputs


def is_one_character(pattern: str) -> bool:
    """Whether it is only a class of characters, which cannot backtrack."""
    return re.fullmatch(r"\[(?:[^\]\\]|\\.)+\]", pattern, re.DOTALL) is not None


def units(pattern: str, thorough: bool) -> list[str]:
    """Characters that the expression distinguishes, alone and in pairs: near misses repeat them."""
    written = re.sub(r"\\[a-zA-Z]|[\\^$*+?()\[\]{}|]", "", pattern)
    most = 24 if thorough else 8
    kept = list(dict.fromkeys(f"a0 /{written}.:-\n"))[:most]
    return kept + ["".join(pair) for pair in itertools.permutations(kept[: most // 2], 2)]


RUN = """
import json, re, signal, sys
task = json.load(sys.stdin)
signal.alarm(task["seconds"])
expression = re.compile(task["pattern"])
def ask(text):
    for method in (expression.match, expression.fullmatch, expression.search):
        method(text)
    expression.sub("", text)
for size in task["sizes"]:
    for start in task["starts"]:
        for unit in task["units"]:
            for end in ("", "!", "\\x00", "\\n"):
                ask(start + unit * (size // len(unit)) + end)
for start, unit, end in task["worst"]:
    ask(start + unit * (task["large"] // len(unit)) + end)
"""


def is_linear(
    pattern: str, worst: Sequence[tuple[str, str, str]], patience: int = 20, thorough: bool = False
) -> bool:
    """Whether an expression handles its worst inputs in time.

    An input is a start, a repeated unit, and an end. A separate process tests them, because an
    expression that backtracks holds the GIL and cannot be interrupted. The starts of the given
    inputs are also combined with parts of the expression itself.
    """
    task: dict[str, Any] = {
        "pattern": pattern,
        "sizes": SIZES,
        "large": LARGE,
        "starts": sorted({"", *(start for start, _, _ in worst)}),
        "units": units(pattern, thorough),
        "worst": worst,
        "seconds": patience * 10 if thorough else patience,
    }
    run = subprocess.run(
        [sys.executable, "-I", "-c", RUN],
        input=json.dumps(task),
        text=True,
        capture_output=True,
        check=False,
        timeout=patience * 10 + 60,
    )
    if run.returncode not in (0, -14):
        raise RuntimeError(run.stderr)
    return run.returncode == 0
