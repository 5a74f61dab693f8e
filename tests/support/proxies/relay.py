"""A relay of TCP connections, which counts them."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import closing, suppress


class Relay:
    """Passes on everything to a port of this machine; use it as a context."""

    def __init__(self, target: int) -> None:
        self.connections = 0
        """The number of connections so far."""
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                relay.connections += 1
                with closing(socket.create_connection(("127.0.0.1", target))) as other:
                    back = threading.Thread(target=_pass_on, args=(other, self.request))
                    back.start()
                    _pass_on(self.request, other)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        # Without waiting for connections that a proxy keeps.
        self._server.socket.close()


def _pass_on(received: socket.socket, sent: socket.socket) -> None:
    with suppress(OSError):
        while data := received.recv(65536):
            sent.sendall(data)
        sent.shutdown(socket.SHUT_WR)
