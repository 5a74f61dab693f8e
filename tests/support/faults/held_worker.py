"""A worker for tests, which can be held at the worst moments of a check and of a change.

``python -m tests.support.faults.held_worker PORT DIRECTORY`` serves the real application, in a
process that shares memory with others that have the same settings. It has one addition to the
product: at a point that a file in the directory names, the thread that reaches it stops its whole
process, like SIGSTOP from outside, or waits by itself. Nothing is replayed here: a test sees only
the effects of the process that made the change.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from latchkey import Latchkey
    from latchkey.credentials.models import Verifier

BEFORE, AFTER, COMMITTED = "before", "after", "committed"
"""Between ticket and SELECT; between SELECT and fill; between commit and increment."""
STOP, WAIT = "stop", "wait"


def order(directory: Path, point: str, api_key: str) -> Path:
    """The file that requests one hold; it says how. A WAIT lasts until it is renamed back."""
    return directory / f"{point}-{api_key}"


def held(file: Path) -> Path:
    """The new name of the file once a thread is held."""
    return file.with_suffix(".held")


def _hold(directory: Path, point: str, api_key: str) -> None:
    file = order(directory, point, api_key)
    try:
        how = file.read_text()
        file.rename(held(file))
    except FileNotFoundError:
        return
    if how == STOP:
        # This thread is stopped before it returns from the call, together with all others.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    else:
        while held(file).exists():
            time.sleep(0.002)


def hold_on_order(latchkey: Latchkey, directory: Path) -> None:
    """Make the parts of a worker stop at the requested points."""
    sources, invalidate = latchkey.authenticator._sources, latchkey.publisher._invalidate
    assert invalidate is not None

    def held_find(api_key: str) -> Verifier | None:
        _hold(directory, BEFORE, api_key)
        found = sources.find(api_key)
        _hold(directory, AFTER, api_key)
        return found

    def held_invalidate(lookup: str) -> None:
        _hold(directory, COMMITTED, f"ak_{lookup}")
        invalidate(lookup)

    latchkey.authenticator._sources = replace(sources, find=held_find)
    latchkey.publisher._invalidate = held_invalidate


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do not log requests."""


def main() -> None:
    """Serve until the process is stopped."""
    from latchkey.box.segment import ServiceSegment
    from latchkey.config import load_settings
    from latchkey_service import create_app

    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    settings = load_settings()
    segment = ServiceSegment.open(settings)
    app = create_app(settings, shared=segment.for_worker(), migrate=False)
    hold_on_order(app.extensions["latchkey"], directory)
    make_server("127.0.0.1", port, app, threaded=True, request_handler=_Quiet).serve_forever()


if __name__ == "__main__":
    main()
