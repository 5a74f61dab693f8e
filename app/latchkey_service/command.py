"""The entry point of the `latchkey` command, which names missing packages in one line."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Without the extra `service`, print how to install it."""
    try:
        from latchkey_service.cli import main as run

        run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("latchkey", "latchkey_service"):
            raise
        sys.exit(
            f"latchkey: the package {error.name} is missing; to install the service, run: "
            "pip install 'latchkey-auth[service]'"
        )
    except ImportError as error:
        # `latchkey` raises this if `fastcache` is the package of another distribution.
        if error.name != "fastcache":
            raise
        sys.exit(f"latchkey: {error}")
