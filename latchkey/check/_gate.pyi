from collections.abc import Iterable
from typing import Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from latchkey.check._check import Check

class Policy(Protocol):
    def examine(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes] | None: ...
    def examine_unknown(
        self, environ: WSGIEnvironment, start_response: StartResponse, secret: str, digest: bytes
    ) -> Iterable[bytes] | None: ...

class Gate:
    policy: Policy
    def __init__(self, application: WSGIApplication, check: Check, policy: Policy, /) -> None: ...
    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]: ...
