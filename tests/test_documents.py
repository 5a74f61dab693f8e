"""The commands and the code of all documents, as they stand there.

A block that is new, or of another page, has to be listed here: with what it needs, or with the
reason why no test runs it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from latchkey_service.cli import cli
from tests.support.service import LATCHKEY, Pair, Service

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}

COMMAND = re.compile(
    r"^    ((?:\.venv/bin/)?(?:latchkey|curl|make|export|locust|flask|gunicorn|pip|sudo)\b.*)$",
    re.MULTILINE,
)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(latchkey(?: +[^`\n]+)?)`")

RUN_ELSEWHERE = {
    "docs/operations.md": "tests/test_recipes.py",
    "docs/benchmarks.md": "tests/benchmarks: they take hours",
}
# The lines of the README that only a checkout has: tests/test_makefile.py.
MAKE = ["make serve", "make test"]


def commands(page: str) -> list[str]:
    """The commands of a page, without their comments."""
    return [line.partition("  #")[0].rstrip() for line in COMMAND.findall(TEXTS[page])]


def test_every_page_with_commands_is_run() -> None:
    pages = {page for page in TEXTS if commands(page)}
    assert pages == {"README.md", "docs/reference/audit-format.md", *RUN_ELSEWHERE}


def shell(directory: Path, script: str, **variables: str) -> str:
    """What a script prints that runs in a directory, with nothing of this environment but PATH."""
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=directory,
        env={
            "PATH": f"{LATCHKEY.parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (script, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def served(start_service: Callable[..., Service]) -> Service:
    """A service whose files lie where the defaults of its directory are."""
    return start_service(LATCHKEY_WORKERS="1")


def filled(line: str, pair: Pair, port: int) -> str:
    """A command with this key in place of the page's placeholder, and what skips a question."""
    line = line.replace(".venv/bin/", "").replace("ak_live_…", pair.api_key)
    line = line.replace("sk_live_…", pair.api_secret).replace(":8080", f":{port}")
    return (
        f"{line} --yes"
        if re.match("latchkey (keys revoke|audit accept|audit restart)", line)
        else line
    )


def test_the_commands_of_the_readme(served: Service) -> None:
    pair = served.issue()
    lines = [line for line in commands("README.md") if line not in MAKE]
    assert len(lines) + len(MAKE) == len(commands("README.md"))
    script = "\n".join(filled(line, pair, served.port) for line in lines)
    printed = shell(served.directory, script)
    assert printed.count(pair.api_key) >= 3
    assert f"revoked {pair.api_key}" in printed
    assert '"error"' not in printed
    assert served.get("/v1/account", pair.bearer).status == 401


def test_the_commands_about_keys_take_json(served: Service) -> None:
    pair = served.issue()
    lines = [line for line in commands("README.md") if " keys " in line]
    assert len(lines) == 5
    for line in lines:
        json.loads(shell(served.directory, f"{filled(line, pair, 0)} --json"))


def test_the_commands_of_the_audit_page(served: Service) -> None:
    pair = served.issue()
    served.stop()
    key = served.directory / "secrets" / "audit.key"
    for line in commands("docs/reference/audit-format.md"):
        if (
            "only if the key file is gone" in TEXTS["docs/reference/audit-format.md"]
            and "restart" in line
        ):
            key.unlink()
        (served.directory / "log.jsonl").unlink(missing_ok=True)
        shell(served.directory, filled(line, pair, 0))
    assert key.exists()


# What the blocks of each page find when they run, in their order. Each runs in a new process.
IMPORTS = """
import logging
from collections import Counter
from flask import Flask, Response
from flask.views import MethodView
from latchkey import *
"""
SITE = f"""{IMPORTS}
site = Flask("site")
class Statistics(Counter):
    def add(self, name): self[name] += 1
statistics = Statistics()
"""
VIEWS = """
def view(path, declared=lambda function: function):
    def answer(**arguments): return path
    answer.__name__ = "".join(filter(str.isalnum, path)) or "home"
    site.get(path)(declared(answer))
"""
ASKED = (
    VIEWS
    + """
key = {"Authorization": "Bearer " + SECRET}
def status(method, path, headers=()):
    return site.test_client().open(path, method=method, headers=dict(headers)).status_code
"""
)
BLOCKS: dict[str, list[tuple[str, str]]] = {
    "README.md": [
        (
            "",
            f"""{ASKED}
assert status("GET", "/orders") == 401
assert status("GET", "/orders", key) == 200
""",
        ),
        (
            "from latchkey import Latchkey\ndef application(environ, start_response): ...",
            "assert callable(application)",
        ),
    ],
    "docs/reference/fastcache.md": [
        ("value = 1", "assert cache.get('key') == 1"),
        ("", "assert Segment and Counters and SharedCache and Stripes"),
    ],
    "docs/how-to/protect-an-application.md": [
        (
            "",
            f"""{ASKED}
view("/")
view("/orders", any_credential)
assert [status("GET", path) for path in ("/", "/orders")] == [200, 401]
assert status("GET", "/orders", key) == 200
""",
        ),
        (IMPORTS, ""),
        (SITE, 'Orders.as_view("orders")'),
        (
            SITE,
            f"""{ASKED}
view("/")
view("/orders", any_credential)
Latchkey.join().protect(site, OpenRoutes({{("GET", "/")}}))
logging.getLogger("site").addFilter(AddKey())
assert status("GET", "/") == 200
assert "X-Key" not in site.test_client().get("/").headers
assert site.test_client().get("/orders", headers=key).headers["X-Key"].startswith("ak_")
assert sorted(statistics.values()) == [1, 2], statistics
""",
        ),
        (
            f"""{SITE}{VIEWS}
view("/orders", any_credential)
view("/orders/<int:id>", any_credential)
""",
            f"""{ASKED}
asked = {{"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}}
for path in ("/orders", "/orders/5"):
    assert status("OPTIONS", path, asked) == 200
    assert status("GET", path) == 401
    assert status("GET", path, key) == 200
""",
        ),
        (
            f"""{SITE}{VIEWS}
view("/orders", any_credential)
""",
            f"""{ASKED}
Latchkey.join().protect(site, OpenRoutes(preflights))
assert status("OPTIONS", "/orders") == 200
assert status("GET", "/orders") == 401
""",
        ),
        (
            """
from latchkey import *
def application(environ, start_response):
    start_response("200 OK", [])
    return [repr(environ["latchkey.principal"]).encode()]
""",
            """
from werkzeug.test import Client
assert Client(application).get("/health").data == b"None"
assert Client(application).get("/x").status_code == 401
pair = {"X-Api-Key": KEY, "X-Api-Secret": SECRET}
assert Client(application).get("/x", headers=pair).data != b"None"
""",
        ),
    ],
}


def test_every_block_of_code_is_listed() -> None:
    found = {page: len(PYTHON.findall(text)) for page, text in TEXTS.items()}
    assert {page: len(blocks) for page, blocks in BLOCKS.items()} == {
        page: count for page, count in found.items() if count
    }


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pair]:
    """A directory with an instance under the default names, and a key with all scopes."""
    service = Service(tmp_path_factory.mktemp("instance"))
    service.initialize()
    return service.directory, service.create_key()


@pytest.mark.parametrize(
    ("page", "number"),
    [(page, number) for page, blocks in BLOCKS.items() for number in range(len(blocks))],
)
def test_a_block_of_code(instance: tuple[Path, Pair], page: str, number: int) -> None:
    directory, pair = instance
    before, after = BLOCKS[page][number]
    block = PYTHON.findall(TEXTS[page])[number]
    known = f"KEY, SECRET = {pair.api_key!r}, {pair.api_secret!r}\n"
    script = directory / "site_of_the_page.py"
    script.write_text(f"from __future__ import annotations\n{before}\n{block}\n{known}{after}\n")
    shell(directory, f"{shlex.quote(sys.executable)} -W error {script.name}")


@pytest.mark.parametrize("page", TEXTS)
def test_the_commands_that_a_text_names_are_there(page: str) -> None:
    """With the options that stand behind them."""
    for text in INLINE.findall(TEXTS[page]):
        words = [word for word in shlex.split(text)[1:] if word != "…"]
        command: click.Command = cli
        while words and isinstance(command, click.Group):
            name = words.pop(0)
            if "|" in name:
                break
            found = command.get_command(click.Context(command), name)
            assert found is not None, (text, name)
            command = found
        options = {option for one in command.params for option in one.opts}
        if not isinstance(command, click.Group):
            assert {word for word in words if word.startswith("--")} <= options, text


@pytest.mark.parametrize("page", TEXTS)
def test_the_targets_that_a_text_names_are_there(page: str) -> None:
    targets = set(
        re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    known = {name for names in targets for name in names.split()}
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", TEXTS[page], re.MULTILINE))
    assert named <= known


def test_the_table_of_users_names_every_command() -> None:
    table = re.findall(r"^\| (`\S.*?) \| (?:yes|no)\b", TEXTS["docs/operations.md"], re.MULTILINE)
    named = {text.split()[0] for row in table for text in re.findall(r"`([a-z][^`]*)`", row)}
    assert named == set(cli.list_commands(click.Context(cli)))
