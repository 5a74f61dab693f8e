"""URLs of databases as they may be shown: without their passwords."""

from __future__ import annotations

from urllib.parse import unquote

_SECRETS = ("password", "secret", "scram_client_key", "scram_server_key")


def without_password(url: str) -> str:
    """The URL of a database without the password that it may have, even if it is malformed."""
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" or not separator:
        return url
    # An unescaped password may contain any of the characters that end a part of the URL.
    user, at, place = rest.rpartition("@")
    shown = f"{user.partition(':')[0]}@{place}" if at else rest
    head, mark, query = shown.partition("?")
    kept = [one for one in query.split("&") if not _is_secret(one)]
    return f"{scheme}://{head}{mark if any(kept) else ''}{'&'.join(kept)}"


def _is_secret(parameter: str) -> bool:
    # The name may be percent-encoded.
    name, is_given, _ = unquote(parameter).partition("=")
    return bool(is_given) and name.lower().endswith(_SECRETS)
