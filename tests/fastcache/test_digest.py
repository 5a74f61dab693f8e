"""KeyedDigest: hashlib.blake2b is the oracle."""

from __future__ import annotations

import hashlib
import pickle
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcache import KeyedDigest

KEY = bytes(range(64))
HEADERS = Path(__file__).parents[2] / "fastcache"
PROGRAM = """
#include <stdio.h>
#include "_blake2b.h"

int main(void)
{
    unsigned char key[64], data[520], out[64];
    for (int i = 0; i < 64; i++) { key[i] = (unsigned char)i; }
    for (int i = 0; i < 520; i++) { data[i] = (unsigned char)(i % 251); }
    for (size_t length = 0; length < 520; length++) {
        fastcache_blake2b_key made;
        fastcache_blake2b_init(&made, key, 64, length % 64 + 1);
        fastcache_blake2b(&made, data, length, out);
        for (size_t i = 0; i <= length % 64; i++) { printf("%02x", out[i]); }
        putchar('\\n');
    }
    return 0;
}
"""


def oracle(data: bytes, key: bytes, size: int) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=size).digest()


@given(
    st.binary(max_size=600),
    st.binary(min_size=1, max_size=64),
    st.integers(min_value=1, max_value=64),
)
def test_as_hashlib(data: bytes, key: bytes, size: int) -> None:
    assert KeyedDigest(key, size).digest(data) == oracle(data, key, size)


@pytest.mark.parametrize("size", [1, 16, 20, 64])
def test_every_length_around_the_blocks(size: int) -> None:
    digest = KeyedDigest(KEY, size)
    assert digest.size == size
    data = bytes(number % 251 for number in range(520))
    for length in range(len(data)):
        assert digest.digest(data[:length]) == oracle(data[:length], KEY, size)


@pytest.mark.parametrize("macros", [[], ["-DFASTCACHE_PORTABLE"]], ids=["as built", "portable"])
def test_every_form_of_the_compression_function(tmp_path: Path, macros: list[str]) -> None:
    """Whatever this processor has: the one for any is compiled alone, as others would use it."""
    (tmp_path / "digests.c").write_text(PROGRAM)
    compiler = shlex.split(sysconfig.get_config_var("CC"))
    options = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}", *macros]
    program = tmp_path / "digests"
    subprocess.run([*compiler, *options, tmp_path / "digests.c", "-o", program], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    data = bytes(number % 251 for number in range(520))
    expected = [oracle(data[:length], KEY, length % 64 + 1).hex() for length in range(520)]
    assert printed == expected


def test_a_message_of_many_blocks() -> None:
    data = bytes(1 << 20)
    assert KeyedDigest(b"k").digest(data) == oracle(data, b"k", 16)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_counts_as_its_utf8_bytes(text: str) -> None:
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


@pytest.mark.parametrize("size", [0, -1, 65])
def test_size_is_1_to_64(size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be 1 to 64, not {size}"):
        KeyedDigest(b"key", size)


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="key must be bytes, not str"):
        KeyedDigest("key")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="size must be an int, not str"):
        KeyedDigest(b"key", "16")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="data must be str or bytes, not int"):
        KeyedDigest(b"key").digest(5)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        KeyedDigest(b"key").digest("\ud800")
    with pytest.raises(TypeError):
        KeyedDigest.__new__(KeyedDigest)  # type: ignore[call-arg]


def test_cannot_be_pickled() -> None:
    """The key stays where it is."""
    with pytest.raises(TypeError):
        pickle.dumps(KeyedDigest(b"key"))
