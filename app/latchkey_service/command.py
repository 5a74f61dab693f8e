"""The `latchkey` command: the command line, or a line that says what has to be installed for it."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without the extra `service`, say how to install it."""
    try:
        from latchkey_service.cli import main as run

        run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("latchkey", "latchkey_service"):
            raise
        sys.exit(
            f"latchkey: the package {error.name} is missing; the command and the service need: "
            "pip install 'latchkey-auth[service]'"
        )
    except ImportError as error:
        # The line by which `latchkey` refuses another distribution's package.
        if error.name != "fastcache":
            raise
        sys.exit(f"latchkey: {error}")
