"""Key files of other users, groups and modes, read by a process with real user and group ids."""

from __future__ import annotations

import codecs
import os
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from latchkey.config import load_settings
from latchkey.errors import ConfigurationError
from latchkey.key_files import audit_key, derivation_keys
from tests.support import forked
from tests.support.other_users import as_root
from tests.support.service import Service

pytestmark = as_root

# Another user may be unable to reach the interpreter's modules: what reads a file is loaded before.
codecs.lookup("ascii")

KEY = "ab" * 32
# The service's user and group, another user's, and root's.
OURS, OTHER, ROOT = 41234, 45678, 0


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of root that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def access_list(path: Path, *entries: tuple[int, int]) -> None:
    """Grant reading to users (tag 2) and groups (tag 8), and nothing to the file's group."""
    rows = [(1, 4, -1), *((tag, 4, number) for tag, number in entries), (4, 0, -1), (16, 4, -1)]
    rows = sorted([*rows, (32, 0, -1)])
    packed = b"".join(struct.pack("<HHi", *row) for row in rows)
    os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + packed)


class File(NamedTuple):
    """A key file: its owner, group, mode, and the entries of its access list."""

    user: int
    group: int
    mode: int
    entries: tuple[tuple[int, int], ...] = ()

    def make(self, path: Path) -> Path:
        path.touch(mode=0o600)
        path.write_text(f"{KEY}\n")
        os.chown(path, self.user, self.group)
        path.chmod(self.mode)
        if self.entries:
            access_list(path, *self.entries)
        return path


def read_as_service(path: Path, *groups: int) -> str:
    """What the service reads from a key file, or the line with which it refuses the file."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups(groups)
            os.setresgid(OURS, OURS, OURS)
            os.setresuid(OURS, OURS, OURS)
            os.write(writing, _read(path).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        text = stream.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def _read(path: Path) -> str:
    settings = load_settings(
        {"LATCHKEY_DERIVATION_KEYS_FILE": str(path), "LATCHKEY_AUDIT_KEY_FILE": str(path)}
    )
    try:
        (key,), _ = derivation_keys(settings)
        assert audit_key(settings) == key
    except ConfigurationError as error:
        return str(error)
    return key.hex()


@pytest.mark.parametrize(
    "file",
    [
        File(OURS, OURS, 0o600),
        File(OURS, OURS, 0o400),
        File(OURS, OURS, 0o440),
        File(OURS, OURS, 0o640),
        File(OURS, ROOT, 0o440),
        File(ROOT, OURS, 0o440),
        File(ROOT, OURS, 0o640),
        # A credential of systemd: of root, with an access list for the service's user.
        File(ROOT, ROOT, 0o400, ((2, OURS),)),
        File(ROOT, OTHER, 0o400, ((2, OURS), (8, OURS))),
    ],
    ids=str,
)
def test_a_private_file_is_read(place: Path, file: File) -> None:
    assert read_as_service(file.make(place / "a.key")) == KEY


OWN = "make it private: chmod 600 {path}"
NOT_OWN = f"make it private: chown {OURS} {{path}} && chmod 400 {{path}}, or, for a secret of a"


@pytest.mark.parametrize(
    ("file", "reason", "remedy"),
    [
        (File(OURS, OURS, 0o444), "has mode 0444, so every user can access it", OWN),
        (File(OURS, OURS, 0o604), "has mode 0604, so every user can access it", OWN),
        (File(ROOT, ROOT, 0o444), "has mode 0444, so every user can access it", NOT_OWN),
        (File(ROOT, OURS, 0o444), "has mode 0444, so every user can access it", NOT_OWN),
        (File(OURS, OURS, 0o460), "has mode 0460, so others can change it", OWN),
        (File(ROOT, OURS, 0o660), "has mode 0660, so others can change it", NOT_OWN),
        (File(OURS, OURS, 0o610), "has mode 0610, so others can change it", OWN),
        (File(OURS, OTHER, 0o440), f"can be read by group {OTHER}", OWN),
        (File(ROOT, OTHER, 0o440), f"can be read by group {OTHER}", NOT_OWN),
        (
            File(ROOT, ROOT, 0o400, ((2, OURS), (2, OTHER))),
            f"has an access list that includes user {OTHER}",
            NOT_OWN,
        ),
        (
            File(ROOT, ROOT, 0o400, ((2, OURS), (8, OTHER))),
            f"can be read by group {OTHER}",
            NOT_OWN,
        ),
    ],
    ids=str,
)
def test_a_file_that_others_can_access_is_refused(
    place: Path, file: File, reason: str, remedy: str
) -> None:
    path = file.make(place / "a.key")
    line = read_as_service(path, OTHER)
    assert f"{path} (LATCHKEY_DERIVATION_KEYS_FILE) {reason}" in line
    assert remedy.format(path=path) in line
    assert KEY not in line


def test_the_command_in_the_line_makes_the_file_private(place: Path) -> None:
    path = File(ROOT, ROOT, 0o444).make(place / "a.key")
    line = read_as_service(path)
    found = re.search(r"private: (.*), or,", line)
    assert found is not None
    assert os.system(found[1]) == 0  # noqa: S605 - as an administrator would run it
    assert read_as_service(path) == KEY


def test_a_file_that_another_user_owns_is_refused(place: Path) -> None:
    line = read_as_service(File(OTHER, OURS, 0o440).make(place / "a.key"))
    assert f"belongs to user {OTHER}, who may have put it there" in line


def test_a_file_of_root_alone_cannot_be_read(place: Path) -> None:
    line = read_as_service(File(ROOT, ROOT, 0o400).make(place / "a.key"))
    assert line.endswith("a.key (LATCHKEY_DERIVATION_KEYS_FILE): Permission denied")


def test_a_secret_of_kubernetes_is_read_through_its_links(place: Path) -> None:
    """A volume has the file in a dated directory, which is replaced by changing a link."""
    place.chmod(0o1777)
    dated = place / "..2026_11_29_10_00_00.1"
    dated.mkdir(mode=0o755)
    File(ROOT, OURS, 0o440).make(dated / "derivation.key")
    (place / "..data").symlink_to(dated.name)
    (place / "derivation.key").symlink_to("..data/derivation.key")
    assert read_as_service(place / "derivation.key") == KEY
    (dated / "derivation.key").chmod(0o444)
    assert "so every user can access it" in read_as_service(place / "derivation.key")


# With root's right to read, because other users may be unable to reach the interpreter's modules.
AS_SERVICE = f"""
import os
from latchkey.files.owner import _keep_reading
os.setgroups([])
os.setresgid({OURS}, {OURS}, {OURS})
os.setresuid({OURS}, {OURS}, 0)
_keep_reading()
{forked.COMMAND}
"""


@pytest.fixture
def box(place: Path) -> Service:
    """An instance of the service's user, with key files as systemd gives them to a service."""
    made = Service(place / "state", LATCHKEY_WORKERS="1")
    made.directory.mkdir()
    os.chown(made.directory, OURS, OURS)
    credentials = place / "credentials"
    credentials.mkdir(mode=0o500)
    for name in ("derivation.key", "audit.key"):
        path = File(ROOT, ROOT, 0o400, ((2, OURS),)).make(credentials / name)
        path.write_text(("ab" if name == "audit.key" else "cd") * 32)
    credentials.chmod(0o500)
    access = ((1, 5, -1), (2, 5, OURS), (4, 0, -1), (16, 5, -1), (32, 0, -1))
    packed = b"".join(struct.pack("<HHi", *row) for row in access)
    os.setxattr(credentials, "system.posix_acl_access", struct.pack("<I", 2) + packed)
    made.settings["LATCHKEY_DERIVATION_KEYS_FILE"] = str(credentials / "derivation.key")
    made.settings["LATCHKEY_AUDIT_KEY_FILE"] = str(credentials / "audit.key")
    return made


def run_as_service(box: Service, *arguments: str) -> tuple[int, str]:
    """The exit status and the output of a command that the service's user runs."""
    with tempfile.TemporaryFile() as output, open(os.devnull, "rb") as nothing:
        streams = (nothing.fileno(), output.fileno(), output.fileno())
        process = forked.start(
            list(arguments),
            code=AS_SERVICE,
            directory=box.directory,
            environment=box.environment(),
            streams=streams,
        )
        status = process.wait(60)
        output.seek(0)
        return status, output.read().decode()


def test_an_instance_works_with_read_only_credentials(box: Service) -> None:
    credentials = Path(box.settings["LATCHKEY_AUDIT_KEY_FILE"]).parent
    before = {path: path.stat().st_ctime_ns for path in credentials.iterdir()}
    status, printed = run_as_service(box, "init")
    assert status == 0, printed
    assert "created the derivation key file" not in printed
    assert printed.count("sk_") >= 2
    status, printed = run_as_service(box, "keys", "create", "--name", "more")
    assert status == 0, printed
    status, printed = run_as_service(box, "audit", "verify")
    assert (status, "intact" in printed) == (0, True), printed
    assert {path: path.stat().st_ctime_ns for path in credentials.iterdir()} == before
    # Root's commands work as the service's user.
    assert box.command("keys", "list").returncode == 0
    assert {path.stat().st_uid for path in box.directory.rglob("*")} == {OURS}


def test_a_start_does_not_warn_about_credentials(box: Service, place: Path) -> None:
    assert run_as_service(box, "init")[0] == 0
    code = AS_SERVICE.replace(
        forked.COMMAND,
        "from latchkey.config import load_settings\n"
        "from latchkey.permissions import weaknesses\n"
        "print(weaknesses(load_settings()))",
    )
    with tempfile.TemporaryFile() as output, open(os.devnull, "rb") as nothing:
        forked.start(
            [],
            code=code,
            directory=box.directory,
            environment=box.environment(),
            streams=(nothing.fileno(), output.fileno(), output.fileno()),
        ).wait(60)
        output.seek(0)
        assert output.read() == b"[]\n"


def test_a_missing_credential_is_one_line(box: Service) -> None:
    path = Path(box.settings["LATCHKEY_DERIVATION_KEYS_FILE"])
    path.unlink()
    status, printed = run_as_service(box, "init")
    assert (status, printed) == (
        1,
        f"latchkey: cannot create the derivation key file {path} (LATCHKEY_DERIVATION_KEYS_FILE): "
        "Permission denied\n",
    )
    assert not path.exists()
