"""Environment variables that a platform injects with our prefix, for a service of our name.

Kubernetes gives every pod variables for each Service in its namespace, and Docker gave a container
variables for each link. Their names and values have fixed forms. Any other variable with our prefix
is a setting, or a typing error.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

_SERVICE = re.compile(r"_SERVICE_(HOST$|PORT(?=_|$))")
ENDPOINT = (
    r"(?<=.)_PORT(?:_[0-9]{1,5}_(?:TCP|UDP|SCTP)"
    r"(?P<part>_(?:PROTO|PORT|ADDR|START|END|PORT_START|PORT_END))?)?$"
)
_URL = re.compile(r"(tcp|udp|sctp)://(?P<host>[0-9.]+|\[[0-9a-f:.]+\]):[0-9]{1,5}")
_NUMBER = re.compile(r"[0-9]{1,5}")
_LINK_NAME = re.compile(r"(/[A-Za-z0-9_.-]+){2}")


def is_injected(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a platform injected this variable: decided by name, value and related variables."""
    value = environ[name]
    for service in _SERVICE.finditer(name):
        host = environ.get(f"{name[: service.start()]}_SERVICE_HOST", "")
        if _is_address(host) and (service[1] == "HOST" or _NUMBER.fullmatch(value)):
            return True
    endpoint = re.search(ENDPOINT, name)
    if endpoint is not None and _is_endpoint(endpoint["part"] or "", value):
        return True
    alias, is_environment, _ = name.partition("_ENV_")
    alias = alias if is_environment else name.removesuffix("_NAME")
    return alias != name and bool(_LINK_NAME.fullmatch(environ.get(f"{alias}_NAME", "")))


def _is_endpoint(part: str, value: str) -> bool:
    if part == "_PROTO":
        return value in ("tcp", "udp", "sctp")
    if part == "_ADDR":
        return _is_address(value)
    if part.startswith("_PORT"):
        return bool(_NUMBER.fullmatch(value))
    return bool(_URL.fullmatch(value))


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
