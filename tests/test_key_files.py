"""Derivation keys from the environment and from files: formats, permissions, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from latchkey.config import SECRET_FILES, Settings, load_settings, variable
from latchkey.errors import ConfigurationError
from latchkey.key_files import derivation_keys

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64
FILE_SETTING = "LATCHKEY_DERIVATION_KEYS_FILE"


def refusal(environ: dict[str, str]) -> str:
    """The line with which the keys are refused, without a trace of the value."""
    with pytest.raises(ConfigurationError) as caught:
        derivation_keys(load_settings(environ))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    message = str(caught.value)
    assert "\n" not in message
    assert not any(key in message for key in (ONE, TWO, THREE))
    return message


@pytest.mark.parametrize(
    ("current", "retired", "keys"),
    [
        (ONE, "", ([ONE], [])),
        (f"{TWO},{ONE}", "", ([TWO, ONE], [])),
        (f" {TWO} , {ONE} ", THREE, ([TWO, ONE], [THREE])),
        ("aB" * 32, "", (["ab" * 32], [])),
        (",".join(f"{n:064}" for n in range(4)), "", ([f"{n:064}" for n in range(4)], [])),
    ],
)
def test_derivation_keys(current: str, retired: str, keys: tuple[list[str], list[str]]) -> None:
    environ = {"LATCHKEY_DERIVATION_KEYS": current, "LATCHKEY_DERIVATION_KEYS_RETIRED": retired}
    found = derivation_keys(load_settings(environ))
    assert tuple([key.hex() for key in listed] for listed in found) == keys


@pytest.mark.parametrize(
    "value",
    ["c0de", "g" * 64, ONE + "1", f"{ONE},", f",{ONE}", f"{ONE};{TWO}", "١" * 64, f"{ONE},{ONE}0"],
)
@pytest.mark.parametrize("field", ["derivation_keys", "derivation_keys_retired"])
def test_a_malformed_derivation_key_is_refused(field: str, value: str) -> None:
    message = refusal({"LATCHKEY_DERIVATION_KEYS": THREE, variable(field): value})
    assert message == f"{variable(field)}: a derivation key must have 64 hex digits"


@pytest.mark.parametrize("field", ["derivation_keys", "derivation_keys_retired"])
def test_five_derivation_keys_are_too_many(field: str) -> None:
    five = ",".join(f"{n:064}" for n in range(5))
    message = refusal({"LATCHKEY_DERIVATION_KEYS": THREE, variable(field): five})
    assert message == f"{variable(field)}: 1 to 4 keys are allowed, not 5"


@pytest.mark.parametrize(
    ("current", "retired", "where"),
    [
        (f"{ONE},{ONE}", "", "KEYS: a derivation key is listed twice"),
        (ONE, f"{TWO},{TWO}", "KEYS_RETIRED: a derivation key is listed twice"),
        (ONE, ONE, "KEYS_RETIRED: a derivation key is listed that is also a current one"),
        ("AB" * 32, "ab" * 32, "KEYS_RETIRED: a derivation key is listed that is also a current"),
    ],
)
def test_a_derivation_key_is_listed_once(current: str, retired: str, where: str) -> None:
    environ = {"LATCHKEY_DERIVATION_KEYS": current, "LATCHKEY_DERIVATION_KEYS_RETIRED": retired}
    assert refusal(environ).startswith(f"LATCHKEY_DERIVATION_{where}")


SECRETS = [name for name, info in Settings.model_fields.items() if info.annotation is SecretStr]


def test_every_secret_has_a_variable_for_a_file() -> None:
    assert {secret: f"{secret}_file" for secret in SECRETS} == SECRET_FILES
    assert set(SECRET_FILES.values()) < set(Settings.model_fields)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_comes_from_the_environment_or_from_a_file(secret: str) -> None:
    environ = {variable(secret): ONE, f"{variable(secret)}_FILE": "keys"}
    assert refusal(environ) == f"set {variable(secret)} or {variable(secret)}_FILE, not both"
    settings = load_settings({**environ, variable(secret): " "})
    assert str(getattr(settings, f"{secret}_file")) == "keys"


def test_the_former_name_of_the_key_file() -> None:
    former = {"LATCHKEY_DERIVATION_KEY_FILE": "/keys"}
    assert load_settings(former).derivation_keys_file == Path("/keys")
    for name in ("LATCHKEY_DERIVATION_KEYS", "LATCHKEY_DERIVATION_KEYS_FILE"):
        assert refusal({**former, name: "/other"}) in (
            f"set LATCHKEY_DERIVATION_KEY_FILE or {name}, not both",
            f"set {name} or LATCHKEY_DERIVATION_KEY_FILE, not both",
        )


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_retired_keys_from_a_file(key_file: Path, end: str) -> None:
    key_file.write_text(f"{TWO}\n{THREE}{end}", newline="")
    environ = {
        "LATCHKEY_DERIVATION_KEYS": ONE,
        "LATCHKEY_DERIVATION_KEYS_RETIRED_FILE": str(key_file),
    }
    current, retired = derivation_keys(load_settings(environ))
    assert [key.hex() for key in current] == [ONE]
    assert [key.hex() for key in retired] == [TWO, THREE]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no such file"),
        ("confidential\n", "a derivation key must have 64 hex digits"),
        (f"{TWO}\n{TWO}\n", "a derivation key is listed twice; list each key once"),
        (f"{ONE}\n", "a derivation key is listed that is also a current one; list each key once"),
    ],
)
def test_a_file_of_retired_keys_that_cannot_be_used(
    key_file: Path, content: str | None, problem: str
) -> None:
    if content is None:
        key_file.unlink()
    else:
        key_file.write_text(content)
    name = "LATCHKEY_DERIVATION_KEYS_RETIRED_FILE"
    message = refusal({"LATCHKEY_DERIVATION_KEYS": ONE, name: str(key_file)})
    assert message == f"the file of retired keys {key_file} ({name}): {problem}"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "derivation.key"
    path.touch(mode=0o600)
    return path


def keys_of(path: Path) -> list[str]:
    environ = {"LATCHKEY_DERIVATION_KEYS_FILE": str(path)}
    return [key.hex() for key in derivation_keys(load_settings(environ))[0]]


def test_a_key_file_with_comments_and_empty_lines(key_file: Path) -> None:
    key_file.write_text(f"# newest first\n{TWO}\n\n  {ONE}  \n")
    assert keys_of(key_file) == [TWO, ONE]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "1 to 4 keys are allowed, not 0"),
        (b"# none yet\n", "1 to 4 keys are allowed, not 0"),
        (b"confidential\n", "a derivation key must have 64 hex digits"),
        (f"{ONE},{TWO}\n".encode(), "a derivation key must have 64 hex digits"),
        ("".join(f"{n:064}\n" for n in range(5)).encode(), "1 to 4 keys are allowed, not 5"),
        (b"\xff" * 64, "not ASCII text"),
    ],
)
def test_a_malformed_key_file(key_file: Path, content: bytes, problem: str) -> None:
    key_file.write_bytes(content)
    message = refusal({"LATCHKEY_DERIVATION_KEYS_FILE": str(key_file)})
    assert message == f"the derivation key file {key_file} ({FILE_SETTING}): {problem}"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o666, 0o610, 0o601])
def test_a_key_file_that_others_can_reach(key_file: Path, mode: int) -> None:
    key_file.write_text(ONE)
    key_file.chmod(mode)
    message = refusal({"LATCHKEY_DERIVATION_KEYS_FILE": str(key_file)})
    access = "every user can access it" if mode & 0o007 else "others can change it"
    assert message == (
        f"the derivation key file {key_file} ({FILE_SETTING}) has mode {mode:04o}, so {access}; "
        f"make it private: chmod 600 {key_file}"
    )


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_key_file_of_this_user_and_group(key_file: Path, mode: int) -> None:
    key_file.write_text(ONE)
    key_file.chmod(mode)
    assert keys_of(key_file) == [ONE]


def test_a_missing_key_file(tmp_path: Path) -> None:
    path = tmp_path / "none"
    message = refusal({"LATCHKEY_DERIVATION_KEYS_FILE": str(path)})
    assert message == (
        "there is no derivation key: set LATCHKEY_DERIVATION_KEYS, or "
        f"LATCHKEY_DERIVATION_KEYS_FILE, which names {path}, or change to the instance's "
        "directory; to create a new instance, run: latchkey init"
    )


def test_a_directory_is_no_key_file(tmp_path: Path) -> None:
    message = refusal({"LATCHKEY_DERIVATION_KEYS_FILE": str(tmp_path)})
    assert message == f"the derivation key file {tmp_path} ({FILE_SETTING}): is not a regular file"
