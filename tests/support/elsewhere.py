"""A program that uses ``latchkey.testing`` as if the system were not Linux.

It removes what only Linux has from Python's modules before it imports anything else, and ends with
an error if a file is opened for writing, or if one below /dev/shm or /proc is opened at all.
"""

import fcntl
import json
import mmap
import os
import select
import sys
import sysconfig
import time
from importlib import import_module

_OTHERS = ("alembic", "cachetools", "flask.testing", "pydantic", "sqlalchemy")
_OF_LINUX = {
    os: ("O_TMPFILE", "O_PATH", "memfd_create", "eventfd", "getxattr", "setxattr", "listxattr"),
    fcntl: ("F_OFD_SETLK", "F_OFD_GETLK", "F_OFD_SETLKW", "F_ADD_SEALS"),
    mmap: ("MADV_HUGEPAGE", "MAP_POPULATE"),
    select: ("epoll",),
    time: ("CLOCK_BOOTTIME",),
}


def be_elsewhere() -> None:
    """Remove what only Linux has, and refuse files."""
    # Other packages were built for this system.
    for name in _OTHERS:
        import_module(name)
    sysconfig.get_config_vars()
    for module, names in _OF_LINUX.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "darwin"
    sys.addaudithook(_refuse_files)


_HERE = os.getcwd()


def _refuse_files(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open":
        return
    path, _, flags = arguments
    writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    # The packages themselves may lie in memory.
    refused = isinstance(path, str) and path.startswith(("/dev/shm", "/proc"))
    if writes or (refused and not str(path).startswith(f"{_HERE}/")):
        raise RuntimeError(f"{path} is opened")


def main() -> None:
    """Use the in-memory instance, and write where it is, and what it answers."""
    from flask import Flask

    from latchkey import Latchkey, require_scope
    from latchkey.config import load_settings
    from latchkey.errors import ConfigurationError
    from latchkey.testing import InMemoryLatchkey

    latchkey = InMemoryLatchkey()
    app = Flask("shop")
    app.add_url_rule("/", view_func=require_scope("orders:read")(lambda: "orders"))
    latchkey.instance.protect(app)
    key = latchkey.issue(scopes=["orders:read"])
    other = latchkey.issue(scopes=["invoices:read"])
    asked = [app.test_client().get("/", headers=one) for one in ({}, key, other)]
    latchkey.revoke(key)
    asked.append(app.test_client().get("/", headers=key))
    try:
        Latchkey.join(load_settings({"LATCHKEY_DERIVATION_KEYS": "00" * 32}))
    except ConfigurationError as error:
        joined = str(error)
    place = os.path.dirname(sys.modules["latchkey"].__file__ or "")
    json.dump(
        {
            "place": place,
            "statuses": [one.status_code for one in asked],
            "joined": joined,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    be_elsewhere()
    main()
