"""The path in the raw target of a request, decoded exactly once, or refused.

A proxy, Latchkey and the application behind the proxy may each read an unusual path in a different
way. So a decision is made only about a path that all of them read in the same way. Any other one
is refused, and never cleaned.
"""

from __future__ import annotations

from functools import lru_cache

from latchkey.errors import InvalidRequest

_LONGEST_CACHED = 256
_HEX = frozenset(b"0123456789ABCDEFabcdef")
# The characters that no rule for endpoints can be written with, and which programs interpret.
_REFUSED = frozenset("?#%;\\")
_DELETE = 0x7F
_LAST_CONTROL = 0x9F
_FIRST_PRINTABLE = 0x20


def path_of(target: str) -> str:
    """The decoded path of a raw target, in the form of WSGI's PATH_INFO.

    ``target`` is text in which each character is a byte, as in WSGI. Raises InvalidRequest for a
    target that does not begin with a slash, and for a path with: an encoded slash, backslash or
    percent sign; an empty, ``.`` or ``..`` segment, also an encoded one; ``;``, ``#``, a backslash
    or a control character, also encoded; an encoded question mark; invalid percent-encoding or
    UTF-8.
    """
    path = target.partition("?")[0]
    return _decode_cached(path) if len(path) <= _LONGEST_CACHED else _decode(path)


def query_of(target: str) -> str:
    """The query of a raw target, not decoded; empty if there is none."""
    return target.partition("?")[2]


def _decode(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidRequest("The original request must name a path: it begins with a slash")
    try:
        raw = path.encode("latin-1")
    except UnicodeEncodeError:
        raise _refusal("a character that is not a byte") from None
    decoded = _percent_decoded(raw) if b"%" in raw else raw
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        raise _refusal("invalid UTF-8") from None
    if not _REFUSED.isdisjoint(text):
        raise _refusal("a question mark, #, %, ; or backslash, also an encoded one")
    if any(map(_is_control, text)):
        raise _refusal("a control character")
    _, *segments = text.split("/")
    if "." in segments or ".." in segments or "" in segments[:-1]:
        raise _refusal("an empty, . or .. segment")
    return decoded.decode("latin-1")


_decode_cached = lru_cache(maxsize=4_096)(_decode)


def _percent_decoded(raw: bytes) -> bytes:
    """Decode percent-encoding once; raises InvalidRequest where it is invalid."""
    decoded = bytearray()
    first, *rest = raw.split(b"%")
    decoded += first
    for part in rest:
        digits = part[:2]
        if len(digits) < 2 or not _HEX.issuperset(digits):
            raise _refusal("invalid percent-encoding")
        byte = int(digits, 16)
        if byte == ord("/"):
            raise _refusal("an encoded slash")
        decoded.append(byte)
        decoded += part[2:]
    return bytes(decoded)


def _is_control(character: str) -> bool:
    code = ord(character)
    return code < _FIRST_PRINTABLE or _DELETE <= code <= _LAST_CONTROL


def _refusal(problem: str) -> InvalidRequest:
    return InvalidRequest(f"The path of the original request is refused: it contains {problem}")
