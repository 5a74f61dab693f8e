"""Limits the log lines that callers can cause: some lines of each kind per period, then a count.

A caller can cause a log line with each request, and so fill the disk. The kind of a line is its
message before the values are inserted, and the class of its exception.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from latchkey.wording import counted

MOST = 10
"""Lines of one kind that are written in each period; further ones are counted."""
SPAN = 10.0
"""Seconds."""

_MOST_KINDS = 256
_COUNTED = "latchkey_counted"

LineKind = tuple[str, int, str, type[BaseException] | None]
_REST: LineKind = ("latchkey", logging.WARNING, "", None)


@dataclass(slots=True)
class _Span:
    """The lines of one kind since ``begin``; ``last`` is the last line that was not written."""

    begin: float
    lines: int = 0
    last: str | None = None


class LogLimit(logging.Filter):
    """A logging filter that limits the lines of all threads of a process."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        """``timer`` returns seconds."""
        super().__init__()
        self._timer = timer
        self._lock = threading.Lock()
        self._spans: dict[LineKind, _Span] = {}
        self._reporter: threading.Timer | None = None
        os.register_at_fork(after_in_child=self._reset)

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide whether a line is written; called by logging."""
        if hasattr(record, _COUNTED):
            return True
        kind = _kind_of(record)
        now = self._timer()
        with self._lock:
            if kind not in self._spans and len(self._spans) >= _MOST_KINDS:
                kind = _REST
            span = self._spans.get(kind)
            ended = None
            if span is None or now >= span.begin + SPAN:
                ended, span = span, _Span(now)
                self._spans[kind] = span
            span.lines += 1
            written = span.lines <= MOST
            if not written:
                span.last = record.getMessage()
                self._report_later()
        if ended is not None:
            _write_count(kind, ended)
        return written

    def report(self, *, all_of_them: bool = False) -> None:
        """Write the number of suppressed lines for each period that has ended.

        ``all_of_them`` includes current periods, for the end of the process.
        """
        now = self._timer()
        with self._lock:
            self._reporter = None
            ended = {
                kind: span
                for kind, span in self._spans.items()
                if all_of_them or now >= span.begin + SPAN
            }
            for kind in ended:
                del self._spans[kind]
            if any(span.last is not None for span in self._spans.values()):
                self._report_later()
        for kind, span in ended.items():
            _write_count(kind, span)

    def _report_later(self) -> None:
        """Schedule the report, because no other line may follow."""
        if self._reporter is None:
            self._reporter = threading.Timer(SPAN, self.report)
            self._reporter.daemon = True
            self._reporter.start()

    def _reset(self) -> None:
        """Clear the counts in a child after a fork: the parent reports them."""
        self._lock = threading.Lock()
        self._spans = {}
        self._reporter = None


def _kind_of(record: logging.LogRecord) -> LineKind:
    raised = record.exc_info[0] if record.exc_info else None
    return record.name, record.levelno, str(record.msg), raised


def _write_count(kind: LineKind, span: _Span) -> None:
    if span.last is None:
        return
    name, level, _, _ = kind
    logging.getLogger(name).log(
        level,
        "%s like: %s",
        counted(span.lines - MOST, "more line"),
        span.last,
        extra={_COUNTED: True},
    )


LOG_LIMIT = LogLimit()
"""The filter of this process."""


def limit_log(name: str) -> None:
    """Limit the lines of a logger."""
    logging.getLogger(name).addFilter(LOG_LIMIT)
