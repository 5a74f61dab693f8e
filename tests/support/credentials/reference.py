"""The contract's credential format, written a second time: the source of ``vectors.json``.

Pure Python, with nothing but ``hmac``, ``hashlib`` and plain arithmetic (the checksum too), and
nothing of the application, so that a fault there cannot hide in the expected values.

    python -m tests.support.credentials.reference > tests/credentials/vectors.json

The same values come out of OpenSSL::

    printf 'latchkey.v1:ak_…' | openssl mac -digest SHA256 -macopt hexkey:… HMAC
    openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:… \
        -kdfopt info:latchkey.v1.instance:… HKDF
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from typing import Any

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_WIDTH, MAC_WIDTH, CRC_WIDTH = 22, 43, 6

ABOUT = (
    "Known answers for the credential format, to check another implementation against. Byte "
    "strings are in hex, numbers in decimal text (most exceed 64 bits), everything else is the "
    "text itself, UTF-8 where it is hashed. base62: number and width give text. api_keys: mode and "
    "id (a 128-bit number) give api_key. secrets: derivation_key (32 bytes) and api_key give mac = "
    "HMAC-SHA256(derivation_key, 'latchkey.v1:' + api_key), api_secret, crc32 (zlib's, of the 73 "
    "bytes before it) and sha256 (of the whole secret, what is stored). derivation_id names the "
    "key in the store. checksums: crc32 of text, and its six base62 digits. instance_keys: "
    "HKDF-SHA256 of master, empty salt, info 'latchkey.v1.instance:' + name. hkdf_rfc5869: test "
    "cases 1 and 3 of that RFC. malformed_api_keys, malformed_secrets: text that must be refused "
    "by its form alone, and why. not_derived: well-formed secrets that the derivation_key did not "
    "make. boundary_secrets: well-formed, at the ends of their fields."
)


def base62(number: int, width: int) -> str:
    """The number in ``width`` digits; it must fit."""
    text = "".join(DIGITS[number // 62**place % 62] for place in reversed(range(width)))
    assert number < 62**width
    return text


def crc32(data: bytes) -> int:
    """CRC-32 as in zlib, gzip and Ethernet: reflected, polynomial 0xEDB88320, inverted twice."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def hkdf_sha256(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 section 2, extract and expand."""
    pseudorandom_key = hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()
    output, block, counter = b"", b"", 0
    while len(output) < length:
        counter += 1
        block = hmac.new(pseudorandom_key, block + info + bytes([counter]), "sha256").digest()
        output += block
    return output[:length]


def make_api_key(mode: str, number: int) -> str:
    return f"ak_{mode}_{base62(number, ID_WIDTH)}"


def make_mac(derivation_key: bytes, api_key: str) -> bytes:
    message = b"latchkey.v1:" + api_key.encode("ascii")
    return hmac.new(derivation_key, message, hashlib.sha256).digest()


def with_checksum(body: str) -> str:
    return body + base62(crc32(body.encode("ascii")), CRC_WIDTH)


def make_secret(api_key: str, mac: bytes) -> str:
    return with_checksum("sk_" + api_key[3:] + base62(int.from_bytes(mac, "big"), MAC_WIDTH))


def make_derivation_id(derivation_key: bytes) -> str:
    return hmac.new(derivation_key, b"latchkey.v1.derivation_id", hashlib.sha256).hexdigest()[:16]


def make_instance_key(master: bytes, name: str) -> bytes:
    return hkdf_sha256(master, b"", b"latchkey.v1.instance:" + name.encode("utf-8"), 32)


def vectors() -> dict[str, Any]:
    """The complete content of ``vectors.json``."""
    return {
        "about": ABOUT,
        "base62": _base62(),
        "api_keys": [
            {"mode": mode, "id": str(number), "api_key": make_api_key(mode, number)}
            for mode in ("live", "test")
            for number in (0, 1, 61, 62, _number("id", 16), 2**127, 2**128 - 1)
        ],
        "secrets": [
            _secret(key, make_api_key(mode, number))
            for key in (_bytes("key one"), _bytes("key two"), bytes(32), b"\xff" * 32)
            for mode, number in (("live", _number("id", 16)), ("test", 0), ("live", 2**128 - 1))
        ],
        "checksums": [
            {"text": text, "crc32": str(crc32(text.encode())), "crc": with_checksum(text)[-6:]}
            for text in ("", "123456789", "sk_live_" + "0" * 65, "sk_test_" + "z" * 65)
        ],
        "instance_keys": [
            {"master": master.hex(), "name": name, "key": make_instance_key(master, name).hex()}
            for master in (_bytes("master"), _bytes("long") * 3)
            for name in ("eu-1", "EU-1", "", "Zürich ☃", "x" * 300)
        ],
        # The expected values are those of the RFC (appendix A.1 and A.3), not computed here.
        "hkdf_rfc5869": [
            {
                "ikm": "0b" * 22,
                "salt": "000102030405060708090a0b0c",
                "info": "f0f1f2f3f4f5f6f7f8f9",
                "okm": "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
                "34007208d5b887185865",
            },
            {
                "ikm": "0b" * 22,
                "salt": "",
                "info": "",
                "okm": "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                "9d201395faa4b61a96c8",
            },
        ],
        "malformed_api_keys": _malformed(_malformed_api_keys()),
        "malformed_secrets": _malformed(_malformed_secrets()),
        "not_derived": _not_derived(),
        "boundary_secrets": [
            {
                "api_key": make_api_key("live", number),
                "mac": mac.hex(),
                "api_secret": make_secret(make_api_key("live", number), mac),
            }
            for number in (0, 2**128 - 1)
            for mac in (bytes(32), b"\xff" * 32)
        ],
    }


def _bytes(label: str) -> bytes:
    """Arbitrary bytes that are always the same."""
    return hashlib.sha256(f"latchkey vector: {label}".encode()).digest()


def _number(label: str, length: int) -> int:
    return int.from_bytes(_bytes(label)[:length], "big")


def _base62() -> list[dict[str, Any]]:
    numbers = [
        (0, 1), (61, 1), (62, 2), (3843, 2), (0, 6), (2**32 - 1, 6), (62**6 - 1, 6), (0, 22),
        (2**128 - 1, 22), (62**22 - 1, 22), (2**256 - 1, 43), (62**43 - 1, 43),
        (_number("digits", 32), 43),
    ]  # fmt: skip
    return [
        {"number": str(number), "width": width, "text": base62(number, width)}
        for number, width in numbers
    ]


def _secret(key: bytes, api_key: str) -> dict[str, str]:
    mac = make_mac(key, api_key)
    secret = make_secret(api_key, mac)
    return {
        "derivation_key": key.hex(),
        "derivation_id": make_derivation_id(key),
        "api_key": api_key,
        "mac": mac.hex(),
        "crc32": str(crc32(secret[:73].encode())),
        "api_secret": secret,
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
    }


def _malformed(texts: dict[str, str]) -> list[dict[str, str]]:
    return [{"why": why, "text": text} for why, text in texts.items()]


def _malformed_api_keys() -> dict[str, str]:
    good = make_api_key("live", _number("id", 16))
    return {
        "empty": "",
        "the prefix alone": "ak_live_",
        "one character short": good[:-1],
        "one character long": good + "0",
        "id is 2**128": "ak_live_" + base62(2**128, ID_WIDTH),
        "id is the largest that 22 digits write": "ak_live_" + "z" * 22,
        "unknown mode": "ak_prod_" + good[8:],
        "upper-case mode": "ak_LIVE_" + good[8:],
        "upper-case prefix": "AK_live_" + good[8:],
        "a secret's prefix": "sk_live_" + good[8:],
        "dashes for underscores": "ak-live-" + good[8:],
        "a dash in the id": good[:-1] + "-",
        "an underscore in the id": good[:-1] + "_",
        "a space before": " " + good,
        "a space in place of the last character": good[:-1] + " ",
        "a newline after": good + "\n",
        "a newline in place of the last character": good[:-1] + "\n",
        "a NUL in the id": good[:-1] + "\0",
        "a superscript digit, which counts as alphanumeric": good[:-1] + "²",
        "a full-width letter": good[:-1] + "\uff21",
        "a Cyrillic letter that looks Latin": good[:-1] + "\u0430",
        "a Devanagari digit": good[:-1] + "\u0967",
    }


def _malformed_secrets() -> dict[str, str]:
    api_key = make_api_key("live", _number("id", 16))
    mac = make_mac(_bytes("key one"), api_key)
    good = make_secret(api_key, mac)
    body, crc = good[:73], crc32(good[:73].encode())
    digits = base62(int.from_bytes(mac, "big"), MAC_WIDTH)
    letter = next(place for place in range(8, 73) if body[place].isalpha())
    swapped = body[:letter] + body[letter].swapcase() + body[letter + 1 :] + good[73:]
    last = next(place for place in range(73, 79) if good[place].isalpha())
    return {
        "empty": "",
        "the prefix alone": "sk_live_",
        "one character short": good[:-1],
        "one character long": good + "0",
        "the api_key in place of the secret": api_key,
        "the secret twice": good + good,
        "id is 2**128, checksum right": with_checksum(
            "sk_live_" + base62(2**128, ID_WIDTH) + digits
        ),
        "id is the largest that 22 digits write, checksum right": with_checksum(
            "sk_live_" + "z" * 22 + digits
        ),
        "mac is 2**256, checksum right": with_checksum(body[:30] + base62(2**256, MAC_WIDTH)),
        "mac is the largest that 43 digits write, checksum right": with_checksum(
            body[:30] + "z" * 43
        ),
        "checksum off by one": body + base62((crc + 1) % 2**32, CRC_WIDTH),
        "checksum is right only modulo 2**32": body + base62(crc + 2**32, CRC_WIDTH),
        "checksum is the largest that 6 digits write": body + "zzzzzz",
        "checksum of zero": body + "000000",
        "checksum is that of the 79 characters before": body + base62(crc32(good.encode()), 6),
        "unknown mode, checksum right": with_checksum("sk_prod_" + body[8:]),
        "the other mode, checksum of the first": "sk_test_" + good[8:],
        "upper-case mode, checksum right": with_checksum("sk_LIVE_" + body[8:]),
        "upper-case prefix, checksum right": with_checksum("SK_live_" + body[8:]),
        "a key's prefix, checksum right": with_checksum("ak_live_" + body[8:]),
        "one letter in the other case": swapped,
        "one letter of the checksum in the other case": good[:last]
        + good[last].swapcase()
        + good[last + 1 :],
        "all upper-case": good.upper(),
        "all lower-case": good.lower(),
        "two neighbours exchanged": _exchange(good),
        "a dash in the mac, checksum right": with_checksum(body[:-1] + "-"),
        "a space before": " " + good,
        "a space after": good + " ",
        "a newline after": good + "\n",
        "a newline in place of the last character": good[:-1] + "\n",
        "a NUL in the mac": body[:-1] + "\0" + good[73:],
        "a superscript digit, which counts as alphanumeric": body[:-1] + "²" + good[73:],
        "a full-width letter": body[:-1] + "\uff21" + good[73:],
        "a Cyrillic letter that looks Latin": body[:-1] + "\u0430" + good[73:],
        "an Arabic digit in the checksum": good[:-1] + "\u0663",
    }


def _exchange(text: str) -> str:
    place = next(place for place in range(30, 72) if text[place] != text[place + 1])
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _not_derived() -> list[dict[str, str]]:
    key = _bytes("key one")
    api_key = make_api_key("live", _number("id", 16))
    other = make_api_key("live", _number("id", 16) + 1)
    twin = make_api_key("test", _number("id", 16))
    flipped = bytes([make_mac(key, api_key)[0] ^ 1]) + make_mac(key, api_key)[1:]
    macs = {
        "made with another derivation key": make_mac(_bytes("key two"), api_key),
        "the mac of another id": make_mac(key, other),
        "the mac of the same id in the other mode": make_mac(key, twin),
        "the mac without its label": hmac.new(key, api_key.encode(), "sha256").digest(),
        "one bit of the mac changed": flipped,
        "a mac of zeros": bytes(32),
    }
    return [
        {"why": why, "derivation_key": key.hex(), "api_secret": make_secret(api_key, mac)}
        for why, mac in macs.items()
    ]


if __name__ == "__main__":
    # ASCII only: a text with look-alike characters could be changed by editors.
    sys.stdout.write(json.dumps(vectors(), indent=1) + "\n")
