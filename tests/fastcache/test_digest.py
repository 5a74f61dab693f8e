"""KeyedDigest, compared with hashlib: SHA-256 or BLAKE2b, depending on the processor."""

from __future__ import annotations

import hashlib
import pickle
import shlex
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache.shared import KeyedDigest

KEY = bytes(range(64))
HEADERS = Path(__file__).parents[2] / "fastcache"
PROGRAM = """
#include <stdio.h>
#include "_digest.h"

int main(void)
{
    unsigned char key[64], data[520], out[FASTCACHE_DIGEST];
    for (int i = 0; i < 64; i++) { key[i] = (unsigned char)i; }
    for (int i = 0; i < 520; i++) { data[i] = (unsigned char)(i % 251); }
    puts(fastcache_digests_by_sha256() ? "sha256" : "blake2b");
    for (size_t length = 0; length < 520; length++) {
        fastcache_digest_key made;
        fastcache_digest_init(&made, key, length % 64 + 1);
        fastcache_digest(&made, data, length, out);
        for (size_t i = 0; i < FASTCACHE_DIGEST; i++) { printf("%02x", out[i]); }
        putchar('\\n');
    }
    return 0;
}
"""


def by_sha256(data: bytes, key: bytes) -> bytes:
    return hashlib.sha256(key.ljust(64, b"\0") + data).digest()[:16]


def by_blake2b(data: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=16).digest()


ORACLES: dict[str, Callable[[bytes, bytes], bytes]] = {"sha256": by_sha256, "blake2b": by_blake2b}
oracle = ORACLES[KeyedDigest.algorithm]


@given(st.binary(max_size=600), st.binary(min_size=1, max_size=64))
def test_digests_equal_those_of_hashlib(data: bytes, key: bytes) -> None:
    assert KeyedDigest(key).digest(data) == oracle(data, key)


def test_every_length_around_the_blocks() -> None:
    digest = KeyedDigest(KEY)
    data = bytes(number % 251 for number in range(520))
    for length in range(len(data)):
        assert digest.digest(data[:length]) == oracle(data[:length], KEY)


@pytest.mark.parametrize(
    ("macros", "algorithm"),
    [([], KeyedDigest.algorithm), (["-DFASTCACHE_PORTABLE"], "blake2b")],
    ids=["as built", "portable"],
)
def test_every_algorithm(tmp_path: Path, macros: list[str], algorithm: str) -> None:
    """The portable code is compiled separately, so it is tested on every processor."""
    (tmp_path / "digests.c").write_text(PROGRAM)
    compiler = shlex.split(sysconfig.get_config_var("CC"))
    options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}", *macros]
    program = tmp_path / "digests"
    subprocess.run([*compiler, *options, tmp_path / "digests.c", "-o", program], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    data = bytes(number % 251 for number in range(520))
    digest = ORACLES[algorithm]
    expected = [digest(data[:length], KEY[: length % 64 + 1]).hex() for length in range(520)]
    assert printed == [algorithm, *expected]


def test_the_sha_instructions_are_used() -> None:
    described = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    flags = next((line for line in described.splitlines() if line.startswith("flags")), "").split()
    # A kernel may hide the flag that the processor reports.
    assert KeyedDigest.algorithm == "sha256" or "sha_ni" not in flags


def test_a_message_of_many_blocks() -> None:
    data = bytes(1 << 20)
    assert KeyedDigest(b"k").digest(data) == oracle(data, b"k")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_str_stands_for_its_utf8_bytes(text: str) -> None:
    digest = KeyedDigest(b"key")
    assert digest.digest(text) == digest.digest(text.encode())


def test_many_messages_under_one_key() -> None:
    digest = KeyedDigest(b"key")
    assert digest.digest(b"one") == digest.digest(b"one") != digest.digest(b"two")
    assert digest.digest(b"one") != KeyedDigest(b"other").digest(b"one")


@pytest.mark.parametrize("key", [b"", bytes(65)])
def test_key_is_1_to_64_bytes(key: bytes) -> None:
    with pytest.raises(ValueError, match=f"key must have 1 to 64 bytes, not {len(key)}"):
        KeyedDigest(key)


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="key must be bytes, not str"):
        KeyedDigest("key")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="data must be str or bytes, not int"):
        KeyedDigest(b"key").digest(5)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        KeyedDigest(b"key").digest("\ud800")
    with pytest.raises(TypeError):
        KeyedDigest.__new__(KeyedDigest)  # type: ignore[call-arg]


def test_cannot_be_pickled() -> None:
    """The key must stay in the process."""
    with pytest.raises(TypeError):
        pickle.dumps(KeyedDigest(b"key"))
