"""A routes file that is read again at SIGHUP, while requests arrive."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.faults.service_processes import master, wait_until, workers
from tests.support.service import Pair, Service
from tests.support.verify.asking import question

OLD = """\
[[rule]]
path = "/both"

[[rule]]
path = "/moved"
scopes = ["old:read"]

[[rule]]
path = "/never"
scopes = ["never:read"]
"""
BROKEN = """\
[[rule]]
path = "/moved"
scope = ["a:b"]
"""
# "/never" has no rule here.
NEW = """\
[[rule]]
path = "/moved"
scopes = ["new:read"]

[[rule]]
path = "/both"
"""
PAIRS_OF_SCOPES = ("old:read", "new:read")

# What a request is answered, by the old rules and by the new ones: the status, the code, and the
# scope that the challenge names.
Outcome = tuple[int, str, str]
ADMITTED: Outcome = (200, "", "")
EXPECTED: dict[tuple[str, str], tuple[Outcome, Outcome]] = {
    ("old:read", "/both"): (ADMITTED, ADMITTED),
    ("old:read", "/moved"): (ADMITTED, (403, "insufficient_scope", "new:read")),
    ("new:read", "/moved"): ((403, "insufficient_scope", "old:read"), ADMITTED),
    ("new:read", "/never"): (
        (403, "insufficient_scope", "never:read"),
        (403, "endpoint_not_allowed", ""),
    ),
}


def outcome(service: Service, pair: Pair, target: str) -> Outcome:
    answer = service.send_raw(question("caddy", target=target, headers=pair.bearer).wire())
    if answer.status == 200:
        return ADMITTED
    challenge = answer.headers.get("www-authenticate", "")
    return answer.status, answer.code, challenge.partition('scope="')[2].partition('"')[0]


class Load:
    """The answers to requests that are sent all the time, by what was asked."""

    def __init__(self, service: Service, pairs: dict[str, Pair]) -> None:
        self.seen: dict[tuple[str, str], list[Outcome]] = {asked: [] for asked in EXPECTED}
        self.failures: list[Exception] = []
        self._service = service
        self._pairs = pairs
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run, args=(asked,)) for asked in EXPECTED]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(60)

    def await_more(self, count: int) -> None:
        """Wait until each request was answered that many times more."""
        before = {asked: len(seen) for asked, seen in self.seen.items()}
        wait_until(
            lambda: (
                bool(self.failures)
                or all(len(self.seen[asked]) >= each + count for asked, each in before.items())
            ),
            "more answers",
        )

    def _run(self, asked: tuple[str, str]) -> None:
        scope, target = asked
        while not self._ended.is_set():
            try:
                self.seen[asked].append(outcome(self._service, self._pairs[scope], target))
            except (OSError, IndexError, KeyError) as error:
                self.failures.append(error)
                return


def test_a_reload_under_load(tmp_path: Path) -> None:
    """No request fails, and each is decided by the old rules or by the new ones.

    A broken file keeps the rules. After a reload, all workers have the new rules.
    """
    file = tmp_path / "routes.toml"
    file.write_text(OLD)
    with Service(tmp_path, LATCHKEY_VERIFY_ROUTES="routes.toml", LATCHKEY_WORKERS="2") as service:
        load = Load(service, {scope: service.issue(scopes=[scope]) for scope in PAIRS_OF_SCOPES})
        first = set(workers(service))
        with load.running():
            load.await_more(2)
            file.write_text(BROKEN)
            os.kill(master(service), signal.SIGHUP)
            wait_until(lambda: first.isdisjoint(workers(service)), "the first reload")
            assert "was not reloaded" in service.log
            second = set(workers(service))
            load.await_more(2)
            by_old = {asked: set(seen) for asked, seen in load.seen.items()}
            file.write_text(NEW)
            os.kill(master(service), signal.SIGHUP)
            wait_until(lambda: second.isdisjoint(workers(service)), "the second reload")
            load.await_more(2)
            ended = {asked: len(seen) for asked, seen in load.seen.items()}
            load.await_more(2)
        assert load.failures == []
    assert by_old == {asked: {old} for asked, (old, _) in EXPECTED.items()}
    for asked, (old, new) in EXPECTED.items():
        assert set(load.seen[asked]) <= {old, new}, asked
        assert set(load.seen[asked][ended[asked] :]) == {new}, asked
