"""A TCP proxy between a box and its database that refuses, delays, holds, loses, half-closes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)
_PATIENCE = 30.0


class Direction(Enum):
    """In which direction the bytes of a connection go."""

    TO_DATABASE = "to the database"
    TO_BOX = "to the box"


BOTH = frozenset(Direction)


class TcpProxy:
    """Passes connections on, until it is told otherwise; all its functions return at once.

    ``upstream`` is the address of the database, ``listening`` a socket that the box connects to.
    The proxy runs in a thread. ``see`` is called there with the address of the box's end and each
    chunk that a box sends, before the chunk is passed on.
    """

    def __init__(self, listening: socket.socket, upstream: tuple[str, int]) -> None:
        self._listening = listening
        self.upstream = upstream
        self.see: Callable[[tuple[str, int], bytes], None] | None = None
        self.accepted = 0
        self._links: set[_Link] = set()
        self._refusing = False
        self._delay = 0.0
        self._lost: frozenset[Direction] = frozenset()
        self._passing = {direction: asyncio.Event() for direction in Direction}
        for event in self._passing.values():
            event.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    # ---- faults

    def refuse(self) -> None:
        """Reset all connections, and new ones as soon as they are accepted."""
        self._call(self._refuse())

    def reset(self) -> None:
        """Reset all connections; new ones are served."""
        self._call(self._reset_all())

    def delay(self, seconds: float) -> None:
        """Pass every chunk on later by ``seconds``, in both directions."""
        self._delay = seconds

    def hold(self, directions: frozenset[Direction] = BOTH) -> None:
        """Keep what is sent, on all connections, until ``heal``, which delivers it."""
        self._call(self._change(held=directions))

    def lose(self, directions: frozenset[Direction] = BOTH) -> None:
        """Discard what is sent, on all connections; ``heal`` resets those."""
        self._call(self._change(lost=directions))

    def half_close(self) -> None:
        """End the direction to the box on all connections; the other one stays open."""
        self._call(self._half_close())

    def heal(self) -> None:
        """Pass everything on again."""
        self._call(self._heal())

    def close(self) -> None:
        """End every connection, and the thread."""
        self._call(self._reset_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, in the network of its socket."""
        host, port = self._listening.getsockname()
        return host, port

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- in the thread

    def _call(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(_PATIENCE)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        start = asyncio.start_server(self._accept, sock=self._listening, limit=_CHUNK)
        server = self._loop.run_until_complete(start)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            if self._refusing:
                return
            await self._passing[Direction.TO_DATABASE].wait()
            back, forth = await asyncio.open_connection(*self.upstream, limit=_CHUNK)
            link.database = forth
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(link, reader, forth, Direction.TO_DATABASE))
                group.create_task(self._relay(link, back, writer, Direction.TO_BOX))
            link.close()
        except* OSError:
            # Either end has closed or reset the connection; the other one is told below.
            pass
        finally:
            self._links.discard(link)
            if not link.is_closed:
                link.reset()

    async def _relay(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        peer = link.box.get_extra_info("peername")
        while chunk := await reader.read(_CHUNK):
            if self.see is not None and direction is Direction.TO_DATABASE:
                self.see(peer, chunk)
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._passing[direction].wait()
            if direction in self._lost:
                link.is_spoiled = True
            elif not (link.is_half_closed and direction is Direction.TO_BOX):
                writer.write(chunk)
                await writer.drain()
        await self._passing[direction].wait()
        if direction not in self._lost:
            with suppress(OSError):
                writer.write_eof()

    async def _refuse(self) -> None:
        self._refusing = True
        await self._reset_all()

    async def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _change(
        self,
        held: frozenset[Direction] = frozenset(),
        lost: frozenset[Direction] = frozenset(),
    ) -> None:
        self._lost = lost
        for direction, event in self._passing.items():
            event.clear() if direction in held else event.set()

    async def _half_close(self) -> None:
        for link in self._links:
            link.is_half_closed = True
            with suppress(OSError):
                link.box.write_eof()

    async def _heal(self) -> None:
        self._refusing, self._delay = False, 0.0
        for link in list(self._links):
            # Bytes that are missing in the middle would not be those of any database.
            if link.is_spoiled or link.is_half_closed:
                link.reset()
        await self._change()


class _Link:
    """The two connections of which one continues the other."""

    def __init__(self, box: asyncio.StreamWriter) -> None:
        self.box = box
        self.database: asyncio.StreamWriter | None = None
        self.is_spoiled = False
        self.is_half_closed = False
        self.is_closed = False

    def close(self) -> None:
        """Close both, after each has ended its direction."""
        self.is_closed = True
        for writer in (self.box, self.database):
            if writer is not None:
                writer.close()

    def reset(self) -> None:
        """Abort both, so that their ends see a reset."""
        for writer in (self.box, self.database):
            if writer is not None:
                own = writer.get_extra_info("socket")
                with suppress(OSError):
                    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
