"""The known answers in ``vectors.json``: the file is the reference's, and the application agrees.

The reference is a second implementation; OpenSSL, where it is installed, is a third.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from latchkey.credentials import base62, tokens
from latchkey.credentials.derivation import DerivationKey, DerivationKeys, instance_key
from latchkey.credentials.tokens import hash_secret
from tests.support.credentials import reference

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text("ascii"))
OPENSSL = shutil.which("openssl")


def _why(vector: dict[str, str]) -> str:
    return vector["why"]


def test_the_file_is_what_the_reference_makes() -> None:
    assert reference.vectors() == VECTORS


def test_the_reference_passes_the_test_cases_of_rfc_5869() -> None:
    for case in VECTORS["hkdf_rfc5869"]:
        okm = bytes.fromhex(case["okm"])
        ikm, salt, info = (bytes.fromhex(case[part]) for part in ("ikm", "salt", "info"))
        assert reference.hkdf_sha256(ikm, salt, info, len(okm)) == okm


def test_the_reference_checksum_is_the_published_one() -> None:
    # The check value of CRC-32/ISO-HDLC, as catalogues of CRCs give it.
    assert reference.crc32(b"123456789") == 0xCBF43926


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
def test_openssl_gives_the_same_macs_and_instance_keys() -> None:
    def openssl(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            [str(OPENSSL), *arguments], input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip().replace(":", "").lower()

    for one in VECTORS["secrets"]:
        key = f"hexkey:{one['derivation_key']}"
        data = f"latchkey.v1:{one['api_key']}".encode()
        assert openssl("mac", "-digest", "SHA256", "-macopt", key, "HMAC", data=data) == one["mac"]
    for one in VECTORS["instance_keys"]:
        info = f"latchkey.v1.instance:{one['name']}".encode().hex()
        options = ["digest:SHA256", f"hexkey:{one['master']}", f"hexinfo:{info}"]
        flags = [part for option in options for part in ("-kdfopt", option)]
        assert openssl("kdf", "-keylen", "32", *flags, "HKDF") == one["key"]


def test_base62() -> None:
    for one in VECTORS["base62"]:
        assert base62.encode(int(one["number"]), one["width"]) == one["text"]
        assert base62.decode(one["text"]) == int(one["number"])


def test_api_keys() -> None:
    for one in VECTORS["api_keys"]:
        number = int(one["id"])
        assert base62.encode(number, 22) == one["api_key"][8:]
        assert tokens.check_api_key(one["api_key"]) == one["api_key"]
        assert base62.decode(one["api_key"][8:]) == number
        assert tokens.mode_of(one["api_key"]) == one["mode"]


def test_secrets() -> None:
    for one in VECTORS["secrets"]:
        key = DerivationKey(bytes.fromhex(one["derivation_key"]))
        assert key.id == one["derivation_id"]
        assert key.mac(one["api_key"]).hex() == one["mac"]
        assert key.derive(one["api_key"]) == one["api_secret"]
        parts = tokens.read_secret(one["api_secret"])
        assert (parts.api_key, parts.mac.hex()) == (one["api_key"], one["mac"])
        assert zlib.crc32(one["api_secret"][:73].encode()) == int(one["crc32"])
        assert hash_secret(one["api_secret"]).hex() == one["sha256"]
        assert hashlib.sha256(one["api_secret"].encode()).hexdigest() == one["sha256"]
        assert DerivationKeys([key], []).maker_of(parts) is key
        assert tokens.lookup_key(one["api_secret"]) == tokens.lookup_key(one["api_key"])


def test_checksums() -> None:
    for one in VECTORS["checksums"]:
        assert zlib.crc32(one["text"].encode()) == int(one["crc32"])
        assert base62.encode(int(one["crc32"]), 6) == one["crc"]


def test_secrets_at_the_ends_of_their_fields_are_well_formed() -> None:
    for one in VECTORS["boundary_secrets"]:
        parts = tokens.read_secret(one["api_secret"])
        assert (parts.api_key, parts.mac.hex()) == (one["api_key"], one["mac"])
        assert tokens.compose_secret(parts.api_key, parts.mac) == one["api_secret"]


def test_instance_keys() -> None:
    for one in VECTORS["instance_keys"]:
        assert instance_key(bytes.fromhex(one["master"]), one["name"]).hex() == one["key"]


@pytest.mark.parametrize("vector", VECTORS["malformed_api_keys"], ids=_why)
def test_malformed_api_keys(vector: dict[str, str]) -> None:
    with pytest.raises(tokens.MalformedToken) as raised:
        tokens.check_api_key(vector["text"])
    assert str(raised.value) == "not a well-formed API key"


@pytest.mark.parametrize("vector", VECTORS["malformed_secrets"], ids=_why)
def test_malformed_secrets(vector: dict[str, str]) -> None:
    with pytest.raises(tokens.MalformedToken) as raised:
        tokens.read_secret(vector["text"])
    # One message for every reason: it cannot repeat the text.
    assert str(raised.value) == "not a well-formed API secret"


@pytest.mark.parametrize("vector", VECTORS["not_derived"], ids=_why)
def test_well_formed_secrets_of_somebody_else(vector: dict[str, str]) -> None:
    keys = DerivationKeys([DerivationKey(bytes.fromhex(vector["derivation_key"]))], [])
    parts = tokens.read_secret(vector["api_secret"])
    assert keys.maker_of(parts) is None
    assert keys.registrar_of(parts) is None
