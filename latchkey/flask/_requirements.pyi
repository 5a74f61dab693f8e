from collections.abc import Callable
from typing import Any, final

from flask import Request
from flask.typing import ResponseReturnValue

@final
class Enforcement:
    def __init__(
        self,
        proceed: Callable[[], ResponseReturnValue | None],
        current_request: Callable[[], Request],
        views: dict[str, Callable[..., Any]],
        examine: Callable[[Request], None],
        /,
    ) -> None: ...
    def learn(
        self,
        endpoint: str,
        view: Callable[..., object],
        method: str,
        sufficient: frozenset[str] | None,
        /,
    ) -> None: ...
    def learn_open(self, rule: str, view: Callable[..., object], method: str, /) -> None: ...
    def __call__(self) -> ResponseReturnValue | None: ...
