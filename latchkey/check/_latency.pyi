from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from fastcache.shared import Counters
from latchkey.box._latencies import Latencies

class Latency:
    application: WSGIApplication
    def __init__(
        self, application: WSGIApplication, latencies: Latencies, counters: Counters, alone: bool, /
    ) -> None: ...
    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]: ...
