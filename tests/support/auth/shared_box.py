"""Workers with one real segment: the state of several processes in one process.

Each worker has its own attachment, cache and connections.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastcache.shared import Segment
from latchkey import wsgi
from latchkey.box.shared import SMALLEST, SharedState
from tests.support.auth.worker import Worker


class SharedBox:
    """A segment, and workers with one database that share it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.segment = Segment.create(
            directory / "segment", SharedState.regions(SMALLEST), prepare=SharedState.prepare
        )
        self._workers: list[Worker] = []
        self._segments: list[Segment] = []

    def attach(self) -> SharedState:
        """The state, as another process attaches to it."""
        self._segments.append(Segment.attach(self.segment.path))
        return SharedState.over(self._segments[-1])

    def worker(self, **options: object) -> Worker:
        """Another worker, in real time, so that deadlines have the same meaning for all."""
        path = self.directory / "latchkey.db"
        self._workers.append(
            Worker(
                path,
                fresh=not path.exists(),
                shared=self.attach(),
                real_time=True,
                **options,  # type: ignore[arg-type]
            )
        )
        return self._workers[-1]

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self.segment.remove()


def entrance(worker: Worker) -> Callable[[str], str]:
    """A compiled middleware, which checks secrets: "ok", or the status."""
    came_to: list[str] = []

    def application(environ: object, start_response: object) -> list[bytes]:
        came_to.append("ok")
        return []

    middleware = wsgi.middleware(application, worker.authenticator)

    def check(secret: str) -> str:
        came_to.clear()
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "HTTP_AUTHORIZATION": f"Bearer {secret}",
        }
        middleware(environ, lambda status, headers, exc_info=None: came_to.append(status))  # type: ignore[arg-type]
        return came_to[0]

    return check


def through(worker: Worker, secret: str) -> str:
    """Check a secret with a new compiled middleware: "ok", or the status."""
    return entrance(worker)(secret)
