"""Files in places that other users can reach: opening, creating, replacing, and warnings."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from latchkey.errors import ConfigurationError
from latchkey.files.shared_places import (
    UnsafeFile,
    clear_socket,
    create_private,
    make_directory,
    open_lock,
    open_output,
    open_regular,
    replace_durably,
)
from latchkey.files.weaknesses import directory_weakness, file_weakness
from latchkey.store.sqlite.migrate import database_lock, migrate
from tests.support.audited import new_seal
from tests.support.command_line import fails, one_line
from tests.support.other_users import NOBODY, as_root
from tests.support.service import Service


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: socket addresses cannot contain a longer path."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def obstacles(directory: Path) -> dict[str, Callable[[Path], object]]:
    """Objects that another user can plant under a name in a world-writable directory."""
    target = directory / "target"
    target.write_text("not yours")

    def hard_link(path: Path) -> None:
        os.link(target, path)

    return {
        "link": lambda path: path.symlink_to(target),
        "dangling link": lambda path: path.symlink_to(directory / "nowhere"),
        "hard link": hard_link,
        "pipe": os.mkfifo,
        "directory": lambda path: path.mkdir(),
    }


OBSTACLES = ("link", "dangling link", "hard link", "pipe", "directory")


@pytest.mark.parametrize("kind", OBSTACLES)
def test_a_planted_name_is_not_used_as_a_lock(tmp_path: Path, kind: str) -> None:
    """It is refused immediately: opening a pipe for writing would wait for a reader."""
    path = tmp_path / "lock"
    obstacles(tmp_path)[kind](path)
    with pytest.raises(UnsafeFile, match=r"remove it|not a regular file"):
        open_lock(path)
    assert (tmp_path / "target").read_text() == "not yours"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", OBSTACLES)
def test_a_planted_name_stops_a_migration_with_one_line(tmp_path: Path, kind: str) -> None:
    obstacles(tmp_path)[kind](tmp_path / "latchkey.db.migration-lock")
    with pytest.raises(ConfigurationError) as raised:
        migrate(f"sqlite:///{tmp_path / 'latchkey.db'}")
    assert "latchkey.db.migration-lock" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "nowhere").exists()


@as_root
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "directory", "foreign file"])
def test_a_planted_name_beside_a_database_is_not_opened(
    box: Service, suffix: str, kind: str
) -> None:
    """SQLite would apply another user's log, and wait for a pipe."""
    directory = box.directory / f"{kind}{suffix}"
    directory.mkdir(mode=0o700)
    settings = {**box.settings, "LATCHKEY_DATABASE_URL": f"sqlite:///{directory}/latchkey.db"}
    instance = Service(directory)
    instance.settings = settings
    instance.database = directory / "latchkey.db"
    shutil.copyfile(box.database, instance.database)
    path = directory / f"latchkey.db{suffix}"
    if kind == "foreign file":
        path.touch(mode=0o666)
        os.chown(path, NOBODY, NOBODY)
    else:
        obstacles(directory)[kind](path)
    before = path.lstat()
    line = one_line(instance.command("serve", check=False).stderr)
    assert f"{path}: " in line
    after = path.lstat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert not (directory / "nowhere").exists()


def test_a_pipe_is_not_accepted_as_a_backup(box: Service) -> None:
    os.mkfifo(box.directory / "pipe")
    line = one_line(fails(box, "restore", "pipe", "--yes"))
    assert line.endswith("pipe: is not a regular file")


@as_root
def test_root_does_not_act_for_a_user_who_planted_a_database(box: Service) -> None:
    """In a world-writable directory, any user can create the file first."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        database = Path(name) / "latchkey.db"
        shutil.copyfile(box.database, database)
        os.chown(database, NOBODY, NOBODY)
        planted = Service(box.directory)
        planted.settings = {**box.settings, "LATCHKEY_DATABASE_URL": f"sqlite:///{database}"}
        for arguments in (("init",), ("keys", "create", "--name", "one"), ("serve",)):
            line = one_line(planted.command(*arguments, check=False).stderr)
            assert f"{database} belongs to user nobody" in line
        assert os.listdir(name) == ["latchkey.db"]
        os.chown(name, NOBODY, NOBODY)
        assert "invalid" not in planted.command("keys", "list").stderr


@as_root
def test_a_file_of_another_user_is_not_used_as_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(UnsafeFile, match="belongs to user"):
        open_lock(path)


@as_root
def test_root_uses_the_lock_of_the_directorys_owner(tmp_path: Path) -> None:
    with database_lock(tmp_path / "latchkey.db"):
        pass
    for path in (tmp_path, tmp_path / "latchkey.db.migration-lock"):
        os.chown(path, NOBODY, NOBODY)
    with database_lock(tmp_path / "latchkey.db"):
        pass


def test_created_files_are_private_with_any_umask(tmp_path: Path) -> None:
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            os.close(create_private(tmp_path / f"one-{umask}"))
            os.close(open_lock(tmp_path / f"two-{umask}"))
        finally:
            os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("umask", [0, 0o177, 0o777])
def test_created_directories_are_private_with_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_directory(tmp_path / "one" / "two")
        make_directory(tmp_path / "one" / "two")
    finally:
        os.umask(before)
    made = (tmp_path / "one", tmp_path / "one" / "two")
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_directory(tmp_path / "file" / "one")


@pytest.mark.parametrize("kind", OBSTACLES)
def test_nothing_is_created_through_a_planted_name(tmp_path: Path, kind: str) -> None:
    obstacles(tmp_path)[kind](tmp_path / "new")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "new")
    assert not (tmp_path / "nowhere").exists()


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    with pytest.raises(UnsafeFile, match="not a regular file"):
        open_regular(tmp_path / "key")


def test_a_replaced_file_keeps_its_mode_and_group(tmp_path: Path) -> None:
    path = tmp_path / "head"
    path.write_text("former")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, -1, NOBODY)
    before = path.stat()
    replace_durably(path, b"new")
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid,
        before.st_gid,
        before.st_mode,
    )
    assert after.st_ino != before.st_ino
    assert [one.name for one in tmp_path.iterdir()] == ["head"]


@as_root
def test_a_file_that_root_replaces_keeps_its_owner(tmp_path: Path) -> None:
    head = new_seal(tmp_path / "latchkey.db").head
    head.make()
    os.chown(head.path, NOBODY, NOBODY)
    head.replace(head.read())
    assert (head.path.stat().st_uid, head.path.stat().st_gid) == (NOBODY, NOBODY)


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("not yours")
    (tmp_path / "head").symlink_to(tmp_path / "target")
    replace_durably(tmp_path / "head", b"new")
    assert not (tmp_path / "head").is_symlink()
    assert (tmp_path / "target").read_text() == "not yours"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o666, 0o601])
def test_the_warning_about_an_exposed_file_has_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a file"
    path.touch()
    path.chmod(mode)
    said = file_weakness(path)
    assert said is not None
    assert f"mode {mode:04o}" in said
    assert said.endswith(f"chmod 600 '{path}'")
    path.chmod(0o600)
    assert file_weakness(path) is None


@pytest.mark.parametrize(("mode", "weak"), [(0o777, True), (0o757, True), (0o1777, False)])
def test_a_warning_names_a_directory_that_others_can_write_to(
    tmp_path: Path, mode: int, weak: bool
) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    said = directory_weakness(path)
    assert (said is not None) == weak
    if said is not None:
        assert said.endswith(f"chmod go-w {path}")
        path.chmod(0o755)
        assert directory_weakness(path) is None


def test_a_warning_names_a_sticky_directory_with_predictable_names(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    said = directory_weakness(tmp_path, may_be_sticky=False)
    assert said is not None
    assert "others can put files into it" in said
    tmp_path.chmod(0o1755)
    assert directory_weakness(tmp_path, may_be_sticky=False) is None


@as_root
def test_a_warning_names_files_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "data").mkdir()
    for name in ("file", "data"):
        os.chown(tmp_path / name, NOBODY, NOBODY)
    said = file_weakness(tmp_path / "file"), directory_weakness(tmp_path / "data")
    for line in said:
        assert line is not None
        assert "belongs to user nobody" in line
        assert "chown root " in line
    assert file_weakness(tmp_path / "missing") is None


@pytest.mark.parametrize("kind", OBSTACLES)
def test_an_export_does_not_write_through_a_planted_link(tmp_path: Path, kind: str) -> None:
    """Only in a world-writable directory; elsewhere, a link is the caller's own."""
    shared = tmp_path / "shared"
    shared.mkdir()
    path = shared / "keys.csv"
    obstacles(tmp_path)[kind](path)
    shared.chmod(0o1777)
    with pytest.raises(OSError, match=r"link|regular"):
        open_output(path)
    assert (tmp_path / "target").read_text() == "not yours"
    shared.chmod(0o755)
    if kind == "link":
        os.close(open_output(path))
        assert (tmp_path / "target").read_text() == ""


@as_root
def test_an_export_does_not_write_to_another_users_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    path = tmp_path / "keys.csv"
    path.touch(mode=0o666)
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(UnsafeFile, match="belongs to user"):
        open_output(path)


def test_an_export_is_private_or_keeps_the_mode_of_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    os.close(open_output(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("former")
    path.chmod(0o640)
    os.close(open_output(path))
    assert path.read_text() == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    os.close(open_output(Path("/dev/null")))


def test_a_stale_socket_is_removed(directory: Path) -> None:
    path = directory / "http.sock"
    clear_socket(path, 0)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(os.fspath(path))
        clear_socket(path, 0)
        assert not path.exists()
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(os.fspath(path))
        live.listen()
        with pytest.raises(UnsafeFile, match="another process listens on it"):
            clear_socket(path, 0)
        assert path.is_socket()


@pytest.mark.parametrize("kind", OBSTACLES)
def test_a_planted_name_is_not_used_as_a_socket(directory: Path, kind: str) -> None:
    path = directory / "http.sock"
    obstacles(directory)[kind](path)
    with pytest.raises(UnsafeFile, match="not a socket has this name"):
        clear_socket(path, 0)
    assert path.lstat()
    assert not (directory / "nowhere").exists()


@as_root
def test_a_socket_of_another_user_is_not_removed(directory: Path) -> None:
    path = directory / "http.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(os.fspath(path))
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(UnsafeFile, match="belongs to user nobody"):
        clear_socket(path, 0)
    assert path.is_socket()
