"""Commands in every environment print one line or their output, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.support import forked
from tests.support.command_line import made
from tests.support.latchkey_command import run_here
from tests.support.service import LATCHKEY, Service

EMOJI = "\N{SNOWMAN} \N{GRINNING FACE}"


@pytest.fixture(scope="module")
def named(box: Service) -> Service:
    """A database with a name that few encodings contain, and more keys than a pipe can buffer."""
    made(box, name=EMOJI)
    file = box.directory / "many.csv"
    lines = (f"{'x' * 90},{number:064x}" for number in range(1, 2_000))
    file.write_text("\n".join(["name,sha256", *lines]))
    assert run_here(box, "keys", "import", str(file)).returncode == 0
    made(box, name=EMOJI)
    return box


def run(
    box: Service,
    *arguments: str | bytes,
    preparation: Callable[[], object] | None = None,
    redirection: str = "",
    environment: dict[str, str] | None = None,
    program: str | Path = LATCHKEY,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in its own process, optionally by a shell that redirects its streams."""
    command = [str(program), *arguments]
    if redirection:
        command = ["bash", "-c", f'"$0" "$@" {redirection}', *command]
    done = subprocess.run(
        command,
        cwd=box.directory,
        env={**box.environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=preparation,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    assert b"Exception ignored" not in done.stderr, done.stderr
    assert b"unexpected error" not in done.stderr, done.stderr
    return done


def run_forked(
    box: Service, *arguments: str, standard_input: bytes = b"", output: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process that has loaded the application; its output accepts nothing.

    Otherwise, ``output`` is the descriptor of its output.
    """
    with TemporaryFile() as given, open("/dev/full", "wb") as full, TemporaryFile() as error:
        given.write(standard_input)
        given.seek(0)
        process = forked.start(
            list(arguments),
            directory=box.directory,
            environment=box.environment(),
            streams=(given.fileno(), full.fileno() if output is None else output, error.fileno()),
        )
        status = process.wait()
        error.seek(0)
        done = subprocess.CompletedProcess(arguments, status, b"", error.read())
    assert b"Traceback" not in done.stderr, done.stderr
    assert b"Exception ignored" not in done.stderr, done.stderr
    assert b"unexpected error" not in done.stderr, done.stderr
    return done


# Each of the commands as the executable runs it, with the streams of a new interpreter.
_COMMANDS = """
import json, sys
from latchkey_service.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\\f")
    sys.stdout.buffer.flush()
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"TERM": "dumb", "COLUMNS": "1", "NO_COLOR": "1"},
        {"COLUMNS": "nonsense", "LINES": "-1"},
    ],
    ids=repr,
)
def test_encodings_and_terminals(named: Service, environment: dict[str, str]) -> None:
    commands = [
        ["keys", "list", "--limit", "2"],
        ["keys", "list", "--json", "--limit", "1"],
        ["keys", "create", "--help"],
    ]
    done = run(
        named,
        "-c",
        _COMMANDS,
        json.dumps(commands),
        program=sys.executable,
        environment=environment,
    )
    assert done.returncode == 0, done.stderr
    listed, printed, helped, _ = done.stdout.split(b"\f")
    assert listed.count(b"\n") == 3
    assert b"\xe2\x98\x83" in listed or b"? ?" in listed
    # JSON loses nothing: characters outside the encoding are escaped.
    assert json.loads(printed)["credentials"][0]["name"] == EMOJI
    assert b"--name" in helped


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "list", "--all"],
        ["keys", "list", "--all", "--json"],
        ["keys", "export"],
        ["audit", "export"],
        ["config"],
        ["keys", "create", "--help"],
    ],
    ids=" ".join,
)
def test_an_output_that_accepts_nothing(named: Service, arguments: list[str]) -> None:
    for done, reason in (
        (run_forked(named, *arguments), b"No space left"),
        (run(named, *arguments, redirection=">&-"), b"Bad file descriptor"),
    ):
        assert done.returncode == 1, done
        assert done.stderr.count(b"\n") == 1
        assert done.stderr.startswith(b"latchkey: standard output: " + reason), done.stderr


@pytest.mark.parametrize("arguments", [["keys", "list", "--all"], ["keys", "export"]])
def test_a_reader_that_closes_the_pipe(named: Service, arguments: list[str]) -> None:
    done = run(named, *arguments, redirection="| head -1")
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")


def test_closed_streams(named: Service, long: bool) -> None:
    before = named.database.read_bytes()[:16]
    for closed in ("<&- >&- 2>&-", "2>&-", "<&-", "2>/dev/full", ">&- 2>&-"):
        if long or closed == "<&- >&- 2>&-":
            assert run(named, "keys", "show", "nonsense", redirection=closed).returncode == 1
        run(named, "keys", "create", "--name", "x", redirection=closed)
    assert named.database.read_bytes()[:16] == before
    assert run_here(named, "audit", "verify").returncode == 0


@pytest.fixture
def pipe_without_a_reader() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("place", ["full", "closed", "a pipe without a reader"])
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_secret_that_could_not_be_printed(
    named: Service, pipe_without_a_reader: int, place: str, as_json: list[str]
) -> None:
    create = ["keys", "create", "--name", "x", *as_json]
    if place == "closed":
        done = run(named, *create, redirection=">&-")
    else:
        done = run_forked(named, *create, output=None if place == "full" else pipe_without_a_reader)
    newest = json.loads(run_here(named, "keys", "list", "--limit", "1", "--json").stdout)
    api_key = newest["credentials"][0]["api_key"]
    said = done.stderr.decode()
    assert said.startswith(
        f"latchkey: {api_key} was created, but its secret could not be printed ("
    )
    assert said.count("\n") == 1
    assert "sk_" not in said


HOSTILE = [b"\xff", b"\xf0\x9f", "\u202e".encode(), b"9" * 5_000, b"-" * 300, b"\x1b[31m", b""]


@pytest.mark.parametrize("text", HOSTILE)
def test_arguments_that_are_not_text(named: Service, text: bytes) -> None:
    key = "ak_live_" + "0" * 22
    commands: list[list[str | bytes]] = [
        ["keys", "create", "--name", text],
        ["keys", "list", "--limit", text],
        ["keys", "change", key, "--scope", text],
        ["audit", "list", "--actor", text],
        ["admin", "disable", text],
        ["keys", "rotate", key, "--overlap", text],
        ["serve", "--workers", text],
        ["serve", "--bind", text],
        ["backup", text],
        ["keys", "import", text],
        ["vendor", "instance-key", "--name", text],
        [text],
    ]
    for arguments in commands:
        if text == b"-" * 300 and arguments[0] == "backup":
            continue
        # As the interpreter passes them, without a new process for each.
        done = named.command(*[os.fsdecode(one) for one in arguments], check=False)
        assert done.returncode in (0, 1, 2), arguments
        assert "Traceback" not in done.stderr, done.stderr
        assert "unexpected error" not in done.stderr, done.stderr
        assert "\x1b" not in done.stdout
        if done.returncode:
            assert done.stderr


@pytest.mark.parametrize("url", ["sqlite:////", "sqlite:///a%00b", "sqlite:///data", "sqlite:///."])
def test_paths_that_cannot_name_a_file(named: Service, url: str) -> None:
    for arguments in (["keys", "list"], ["keys", "create", "--name", "x"], ["cache", "stats"]):
        settings = {**named.settings, "LATCHKEY_DATABASE_URL": url}
        box = Service(named.directory)
        box.settings = settings
        done = run_here(box, *arguments)
        assert "unexpected error" not in done.stderr
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


def test_a_deleted_working_directory(named: Service, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        gone.rmdir()

    done = run(
        named,
        "keys",
        "list",
        preparation=leave,
        environment={"LATCHKEY_DATABASE_URL": "sqlite:///x.db"},
    )
    assert done.returncode == 1
    assert done.stderr == b"latchkey: the working directory: No such file or directory\n"


def test_bytes_that_are_not_text_on_standard_input(named: Service) -> None:
    for arguments in (
        ["admin", "create", "ada", "--password-stdin"],
        ["keys", "import", "-"],
        ["vendor", "instance-key", "--name", "x", "--master-key-file", "-"],
    ):
        done = run_forked(named, *arguments, standard_input=b"\xff\xfe\n")
        assert done.returncode == 1
        assert done.stderr
