"""The blocks of all documents: each has a tag, and is checked or run alone where the tag says so.

tests/pages runs the others. tests/support/documents/blocks.py describes the tags.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from tempfile import TemporaryFile

import click
import pytest

from latchkey_service.cli import cli
from tests.support import forked
from tests.support.documents.blocks import ROOT, TEXTS, BadBlock, Block, blocks
from tests.support.documents.checkers import Rejected, check, missing
from tests.support.documents.contexts import CONTEXTS
from tests.support.documents.pages import Page
from tests.support.documents.reading import of_contexts, parsed, tagged
from tests.support.documents.shell import Failed
from tests.support.service import LATCHKEY, Pair, Service

INLINE = re.compile(r"`(latchkey(?: +[^`\n]+)?)`")

# Blocks with the tag `show`, by page and first line, each with the reason why nothing runs it.
SHOWN: dict[str, dict[str, str]] = {
    "docs/benchmarks.md": {
        "export LIVE_API_SECRET=…               # the line that `latchkey init` shows": "endless",
    },
    "docs/how-to/container.md": {
        "docker build --tag latchkey --file deploy/Dockerfile .": "needs a container engine",
        "docker run --rm --interactive --tty --volume latchkey-data:/var/lib/latchkey/data "
        "--volume latchkey-secrets:/var/lib/latchkey/secrets latchkey init": (
            "needs a container engine"
        ),
        "docker run --detach --name latchkey --publish 127.0.0.1:8080:8080 --restart "
        "unless-stopped --stop-timeout 45 --read-only --tmpfs /tmp --cap-drop ALL --security-opt "
        "no-new-privileges --volume latchkey-data:/var/lib/latchkey/data --volume "
        "latchkey-secrets:/var/lib/latchkey/secrets latchkey": "needs a container engine",
    },
    "docs/how-to/several-boxes.md": {
        "latchkey migrate-database sqlite:///data/latchkey.db 'postgresql+psycopg://"
        "latchkey@db.example.com:5432/latchkey?sslmode=verify-full"
        "&sslrootcert=/etc/latchkey/database-ca.crt'": (
            "needs PostgreSQL; tests/integration/test_box_pages.py runs it"
        ),
        "systemctl restart latchkey": "needs PostgreSQL; tests/integration/test_box_pages.py",
        "name  state  version  workers  confirmed  behind  seen       lease  id": (
            "needs two boxes; tests/integration/test_box_pages.py"
        ),
    },
    "docs/how-to/back-up.md": {
        "latchkey reconcile postgresql+psycopg://latchkey@db.example.com:5432/latchkey_before": (
            "needs two databases of PostgreSQL; tests/integration/test_reconcile.py runs it"
        ),
    },
    "docs/architecture.md": {
        "request ─ Latency   latchkey/check/_latency.pyx   counts and measures requests; "
        "knows no check": "a diagram",
        "request ─ Branch   latchkey/check/_proxied.pyx   requests outside of /verify/ go to the "
        "service": "a diagram",
    },
}


@pytest.mark.parametrize("page", TEXTS)
def test_every_block_has_a_tag(page: str) -> None:
    parsed(page)


def test_shown_blocks_are_few_and_listed() -> None:
    every = [block for page in TEXTS for block in parsed(page)]
    shown = [block for block in every if block.tag == "show"]
    listed = {(page, line) for page, lines in SHOWN.items() for line in lines}
    assert {(block.page, block.first_line) for block in shown} == listed
    assert len(shown) * 10 <= len(every), [str(block) for block in shown]


@pytest.mark.parametrize(
    "page",
    [page for page in TEXTS if tagged(page, "check") and not tagged(page, "run", "serve")],
)
def test_the_blocks_of_a_page_are_accepted(page: str, tmp_path: Path) -> None:
    """By the programs that read them, on pages with nothing to run."""
    for block in parsed(page):
        if block.tag == "check":
            if program := missing(block):
                pytest.skip(f"needs {program}")
            check(block.options["by"], block.text, tmp_path)


def test_every_context_has_a_block() -> None:
    for page, contexts in CONTEXTS.items():
        assert len(of_contexts(page)) == len(contexts), page


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pair]:
    """A directory with an instance under the default names, and a key with all scopes."""
    service = Service(tmp_path_factory.mktemp("instance"))
    service.initialize()
    return service.directory, service.create_key()


RUN = """
import runpy, warnings
warnings.simplefilter("error")
# FastAPI asks this of pydantic's models, in their lowest versions.
warnings.filterwarnings("ignore", "The `__fields__` attribute is deprecated")
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("page", "number"),
    [
        (page, number)
        for page, contexts in CONTEXTS.items()
        for number in range(len(contexts))
        if parsed(page)
    ],
)
def test_a_block_of_code(instance: tuple[Path, Pair], page: str, number: int) -> None:
    directory, pair = instance
    before, after = CONTEXTS[page][number]
    known = f"KEY, SECRET = {pair.api_key!r}, {pair.api_secret!r}\n"
    script = directory / "site_of_the_page.py"
    text = of_contexts(page)[number].text
    script.write_text(f"from __future__ import annotations\n{before}\n{text}\n{known}{after}\n")
    with open(os.devnull, "rb") as nothing, TemporaryFile("w+") as output:
        process = forked.start(
            [],
            code=RUN.format(script=str(script)),
            directory=directory,
            environment={"PATH": f"{LATCHKEY.parent}:{os.environ['PATH']}", "HOME": str(directory)},
            streams=(nothing.fileno(), output.fileno(), output.fileno()),
        )
        status = process.wait()
        output.seek(0)
        assert status == 0, output.read()


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
            if name.startswith("--"):
                assert name in {option for one in command.params for option in one.opts}, text
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
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", TEXTS[page], re.MULTILINE))
    assert named <= known


def test_the_table_of_users_names_every_command() -> None:
    table = re.findall(r"^\| (`\S.*?) \| (?:yes|no)\b", TEXTS["docs/operations.md"], re.MULTILINE)
    named = {text.split()[0] for row in table for text in re.findall(r"`([a-z][^`]*)`", row)}
    assert named == set(cli.list_commands(click.Context(cli)))


# ---- The runner itself


@pytest.mark.parametrize(
    "text",
    [
        "```\nx\n```\n",
        "```sh\nx\n```\n",
        "```sh unknown\nx\n```\n",
        "```sh run output\nx\n```\n",
        "```sh run sometimes\nx\n```\n",
        "a\n\n    indented\n",
        "- a\n\n  ```sh\n  x\n  ```\n",
    ],
)
def test_a_block_without_a_plain_tag_is_found(text: str) -> None:
    with pytest.raises(BadBlock):
        blocks("page", text)


PAGE = """
```sh run
mkdir made && cd made
export GREETING=hello
```

```python run
# greet.py
import os
print(os.environ["GREETING"], "world")
```

```sh run
python3 greet.py
pwd
```

```text output
hello world
/…/made
```

```sh run exit=3
exit_with() { return "$1"; }
exit_with 3
```

```python run
number = 20
print("not shown again")
```

```python run
print(number + 1)
```

```text output
21
```
"""


def follow(text: str) -> None:
    """Run a page of a test's own."""
    with Page() as reader:
        found = blocks("page", text)
        for number, block in enumerate(found):
            reader.follow(block, "\n".join(later.text for later in found[number + 1 :]))


def test_a_page_runs_in_one_shell() -> None:
    follow(PAGE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("hello world", "hello nobody"),
        ("python3 greet.py", "python3 gone.py"),
        ("run exit=3", "run exit=4"),
        ("run exit=3", "run"),
        ("mkdir made", "false && mkdir made"),
        ("```text output\n21", "```text output\n22"),
        ("# greet.py", "# other.py"),
        ("print(number + 1)", "print(nothing)"),
    ],
)
def test_a_page_that_is_wrong_is_found(right: str, wrong: str) -> None:
    assert right in PAGE
    with pytest.raises(Failed):
        follow(PAGE.replace(right, wrong, 1))


@pytest.mark.timeout(300)
def test_a_server_serves_the_blocks_behind_it_and_is_stopped() -> None:
    served = (
        "```sh run\nlatchkey init >/dev/null\n```\n```sh serve\nlatchkey serve\n```\n"
        '```sh run\ncurl -H "Authorization: Bearer sk_live_…" http://127.0.0.1:8080/v1/account\n```\n'
        '```json output\n{"object": "account", "id": "…", "name": "test", "mode": "live",'
        ' "api_key": "ak_live_…", "scopes": ["*"], "external_id": null, "metadata": null,'
        ' "limits": []}\n```\n'
    )
    follow(served)
    asks = "```sh run exit=7\ncurl http://127.0.0.1:8080/health\n```\n"
    with pytest.raises(Failed):
        follow(served + asks)
    follow(served + asks.replace("run ", "run stopped "))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("json", '{"a": 1}', "{a: 1}"),
        ("toml", "a = 1", "a: 1"),
        ("yaml", "a: [1]", "a: [1"),
        ("python", "a = 1", "a = "),
        ("make", "make test", "make nothing-of-this-name"),
        ("settings", "LATCHKEY_WORKERS=2", "LATCHKEY_WORKER=2"),
        ("nginx", "location / { return 204; }", "location / { retur 204; }"),
        ("sql", "SELECT 1;", "SELECT 1"),
        ("pgbouncer", "[databases]\n[pgbouncer]\npool_mode = transaction", "[pgbouncer]\n"),
        ("compose", "docker compose exec box1 latchkey boxes", "docker compose exec box3 ls"),
        ("systemd", "[Service]\nExecStart=/bin/true\n", "[Service]\nExecStart=/nowhere\n"),
    ],
)
def test_a_check_rejects_what_is_wrong(name: str, right: str, wrong: str, tmp_path: Path) -> None:
    if program := missing(Block("page", 1, "text", "check", {"by": name}, right)):
        pytest.skip(f"needs {program}")
    check(name, right, tmp_path)
    with pytest.raises(Rejected):
        check(name, wrong, tmp_path)
