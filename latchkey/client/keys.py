"""The key of a client: the sources that it is read from, and the key in use.

A file is JSON, as ``latchkey keys create --json`` prints it, or has lines such as
``API_SECRET=sk_live_…``.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from latchkey.errors import ConfigurationError
from latchkey.files.private import read_private

log = logging.getLogger("latchkey.client")

Scheme = Literal["bearer", "pair"]
"""How the key is sent: the secret alone as a bearer token, or key and secret in two headers."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A secret, and the public key to which it belongs; only the scheme "pair" needs the latter.

    Raises ConfigurationError if one of them cannot be sent in a header.
    """

    api_secret: str = field(repr=False)
    api_key: str | None = None

    def __post_init__(self) -> None:
        for what, text in (("secret", self.api_secret), ("key", self.api_key)):
            if text is not None and not (text.isascii() and text.isprintable() and text.split()):
                raise ConfigurationError(f"the API {what} is empty, or not printable ASCII text")
            if text is not None and " " in text:
                raise ConfigurationError(f"the API {what} contains a space")

    def headers(self, scheme: Scheme) -> dict[str, str]:
        """The headers that carry the key; raises ConfigurationError if the scheme needs more."""
        if scheme == "bearer":
            return {"Authorization": f"Bearer {self.api_secret}"}
        if self.api_key is None:
            raise ConfigurationError('the scheme "pair" needs the API key as well as the secret')
        return {"X-Api-Key": self.api_key, "X-Api-Secret": self.api_secret}


class KeySource(Protocol):
    """Where a client's key is read from, at the start and again after it was refused."""

    def read(self) -> ClientKey:
        """The key as it is now; raises ConfigurationError if there is none."""


@dataclass(frozen=True, slots=True)
class KeyEnvironment:
    """A key in environment variables with these names."""

    secret: str = "API_SECRET"  # noqa: S105 - a name
    key: str = "API_KEY"

    def read(self) -> ClientKey:
        """The key as it is now; raises ConfigurationError if there is none."""
        return _key_of(os.environ, self.secret, self.key, "the environment")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key in a private file: JSON, or lines of variables with these names."""

    path: Path | str
    secret: str = "API_SECRET"  # noqa: S105 - a name
    key: str = "API_KEY"

    def read(self) -> ClientKey:
        """The key as it is now.

        Raises ConfigurationError if there is none, or if other users can read the file.
        """
        path = Path(self.path)
        what = f"the key file {path}"
        try:
            text = read_private(what, path)
        except FileNotFoundError:
            raise ConfigurationError(f"{what}: there is no such file; create it") from None
        if not text.lstrip().startswith("{"):
            return _key_of(_variables_in(text), self.secret, self.key, what)
        try:
            found = json.loads(text)
        except ValueError:
            raise ConfigurationError(f"{what}: not valid JSON") from None
        texts = {name: value for name, value in found.items() if isinstance(value, str)}
        return _key_of(texts, "api_secret", "api_key", what)


class CurrentKey:
    """The key in use; threads may share this object."""

    def __init__(self, source: KeySource, scheme: Scheme) -> None:
        """Read the key. Raises ConfigurationError if there is none, or not all of it."""
        self._source = source
        self._lock = threading.Lock()
        self.scheme = scheme
        self.key = source.read()
        self.key.headers(scheme)

    def renew(self, refused: ClientKey) -> bool:
        """Read the key again after it was refused; whether there is another one now."""
        with self._lock:
            if self.key != refused:
                return True
            try:
                found = self._source.read()
                found.headers(self.scheme)
            except ConfigurationError as error:
                log.warning(
                    "the service refused the API key, and the key cannot be read again: %s", error
                )
                return False
            self.key = found
            return found != refused


def _variables_in(text: str) -> dict[str, str]:
    """The variables of lines such as ``export NAME="value"``; comments begin with ``#``."""
    found = {}
    for line in map(str.strip, text.splitlines()):
        name, assigned, value = line.removeprefix("export ").partition("=")
        if assigned and not line.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value
    return found


def _key_of(values: Mapping[str, str], secret: str, key: str, where: str) -> ClientKey:
    if not values.get(secret):
        raise ConfigurationError(f"there is no {secret} in {where}")
    try:
        return ClientKey(values[secret], values.get(key) or None)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
