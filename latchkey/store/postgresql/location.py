"""The location of a PostgreSQL database: from its URL to the parameters of a connection.

A URL may contain a password, so no message and no representation here contains the URL as given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import ProgrammingError

from latchkey.errors import ConfigurationError
from latchkey.shown_urls import without_password

SCHEME = "postgresql+psycopg"
EXAMPLE = f"{SCHEME}://latchkey@db.example.com:5432/latchkey"

Password = Callable[[], str | None]
"""Reads the password that the settings give; None if they give none."""

_SETTING = "LATCHKEY_DATABASE_URL"
_FORM = re.compile(r"(?:[^@/?]*@)?[^@/?]*(?:/[^@?]*)?(?:\?[^@]*)?")
# A lost connection is noticed within seconds, also while it is idle; a URL may say otherwise.
_DEFAULTS = {
    "application_name": "latchkey",
    "connect_timeout": "3",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}


@dataclass(frozen=True, slots=True)
class Location:
    """One database on one server, or on the servers of one cluster."""

    shown: str
    """The URL without a password."""
    identity: bytes
    """The servers and the name of the database."""
    parameters: dict[str, str] = field(repr=False)
    """The parameters of a connection, with the password if the URL has one."""
    password: Password = field(repr=False)

    def conninfo(self) -> str:
        """The parameters of a connection that is opened now, as the driver takes them.

        The password is read each time, so a changed file takes effect. Raises ConfigurationError.
        """
        given = self.password()
        if given is None:
            return make_conninfo("", **self.parameters)
        if "password" in self.parameters:
            raise ConfigurationError(
                f"set a password in {_SETTING} or in a setting of its own, not both"
            )
        return make_conninfo("", **{**self.parameters, "password": given})


def location_of(url: str, password: Password = lambda: None) -> Location:
    """The database that a ``postgresql+psycopg://…`` URL names; opens nothing.

    ``password`` is called for each connection. Raises ConfigurationError for any other URL.
    """
    scheme, _, rest = url.partition("://")
    if scheme != SCHEME:
        raise ConfigurationError(
            f"{_SETTING} names PostgreSQL in another form than {EXAMPLE}; begin it with {SCHEME}://"
        )
    if not _FORM.fullmatch(rest):
        raise ConfigurationError(
            f"{_SETTING} must have the form {EXAMPLE}; write @, / and ? in a user name or a "
            "password as %40, %2F and %3F"
        )
    try:
        found = conninfo_to_dict(f"postgresql://{rest}")
    except ProgrammingError:
        # The driver's message repeats the URL.
        raise ConfigurationError(f"{_SETTING} must have the form {EXAMPLE}") from None
    given = {name: str(value) for name, value in found.items() if value is not None}
    if not given.get("dbname"):
        raise ConfigurationError(f"{_SETTING} must name a database, as {EXAMPLE}")
    servers = [given.get(name, "") for name in ("hostaddr", "host", "port", "dbname")]
    return Location(
        without_password(url),
        "\0".join(["postgresql", *servers]).encode(),
        {**_DEFAULTS, **given, "target_session_attrs": "read-write", "client_encoding": "UTF8"},
        password,
    )
