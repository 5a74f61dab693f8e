"""URLs of databases as they may be shown: without their passwords."""

from __future__ import annotations

import re
from urllib.parse import unquote

_SECRET_PARAMETER = re.compile(r"[a-z_]*(password|secret)=", re.IGNORECASE)


def without_password(url: str) -> str:
    """The URL of a database without the password that it may have, even if it is malformed."""
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" or not separator:
        return url
    # An unescaped password may contain any of the characters that end a part of the URL.
    user, at, place = rest.rpartition("@")
    shown = f"{user.partition(':')[0]}@{place}" if at else rest
    head, mark, query = shown.partition("?")
    # The name of a parameter may be percent-encoded.
    kept = [one for one in query.split("&") if not _SECRET_PARAMETER.match(unquote(one))]
    return f"{scheme}://{head}{mark if any(kept) else ''}{'&'.join(kept)}"
