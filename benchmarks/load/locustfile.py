"""Clients for Locust: ``locust -f benchmarks/load/locustfile.py``, from the root of the checkout.

By hand, against ``make serve``: it needs a secret in ``LIVE_API_SECRET``, which ``latchkey init``
shows as a line to paste, and asks http://127.0.0.1:8080 for ``/v1/account``. The benchmarks' driver
gives ``--derivation-key-file`` instead, from which the secrets of numbered credentials follow.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args

import gevent
from locust import FastHttpUser, constant, events, task
from locust.runners import MasterRunner, WorkerRunner

from benchmarks.load.credentials import forged_secret_of, read_derivation_key, secret_of
from benchmarks.load.recording import Recorder
from benchmarks.load.requesting import Credentials, OutOfCredentials, Requests, Scenario

SECRET = "LIVE_API_SECRET"  # noqa: S105 - where it is found, not what it is

_END_PATIENCE = 60.0

recorder = Recorder()


class Client(FastHttpUser):  # type: ignore[misc]
    """One caller on a connection of its own, who asks again as soon as it is answered."""

    host = "http://127.0.0.1:8080"
    wait_time = constant(0)
    requests: Requests
    most = 0
    seconds = 0
    ending = False

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """Whatever the scenario asks for next."""
        try:
            self.requests.send(self._send)
        except OutOfCredentials:
            self._end()
        late = self.seconds and time.monotonic() - recorder.began >= self.seconds
        if (late and recorder.count) or (self.most and recorder.count >= self.most):
            self._end()

    def _end(self) -> None:
        """End the run, once for all clients, and wait to be ended oneself.

        One process of several only waits: the one above them ends them all.
        """
        if not Client.ending and not isinstance(self.environment.runner, WorkerRunner):
            Client.ending = True
            # Not from within a client: it would have to end the very one that asks for it.
            gevent.spawn(self.environment.runner.quit)
        gevent.sleep(_END_PATIENCE)

    def _send(
        self, method: str, path: str, kind: str, headers: dict[str, str], expected: Collection[int]
    ) -> int:
        with self.client.request(
            method, path, name=kind, headers=headers, catch_response=True
        ) as answer:
            status: int = answer.status_code
            if status in expected:
                answer.success()
            else:
                answer.failure(f"{kind}: {status or type(answer.error).__name__}")
        return status


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: ArgumentParser) -> None:
    """What can be said on the command line, in the environment, or in the web interface."""
    parser.add_argument(
        "--scenario",
        choices=get_args(Scenario),
        default="hits",
        help="what is asked for",
        **_in_environment("LOAD_SCENARIO"),
    )
    parser.add_argument(
        "--keys", type=int, default=1, help="credentials in use", **_in_environment("LOAD_KEYS")
    )
    parser.add_argument(
        "--fresh-keys",
        type=int,
        default=0,
        help="credentials that are presented once",
        **_in_environment("LOAD_FRESH_KEYS"),
    )
    parser.add_argument(
        "--fresh-from",
        type=int,
        default=0,
        help="the first number of those",
        **_in_environment("LOAD_FRESH_FROM", shown=False),
    )
    parser.add_argument(
        "--derivation-key-file",
        default="",
        help="the service's; numbered credentials are made from it",
        **_in_environment("LOAD_DERIVATION_KEY_FILE", shown=False),
    )
    parser.add_argument(
        "--recordings",
        default="",
        help="a directory for what each process notes",
        **_in_environment("LOAD_RECORDINGS", shown=False),
    )
    parser.add_argument(
        "--seconds",
        type=int,
        default=0,
        help="seconds after the first answer at which it ends, where one process asks",
        **_in_environment("LOAD_SECONDS", shown=False),
    )
    parser.add_argument(
        "--most",
        type=int,
        default=0,
        help="requests after which a process sends no more",
        env_var="LOAD_MOST",
    )


def _in_environment(name: str, *, shown: bool = True) -> Any:
    return {"env_var": name, "include_in_web_ui": shown}


@events.init.add_listener  # type: ignore[untyped-decorator]
def prepare_early(environment: Any, **_: Any) -> None:
    """Before the time of a run begins to count: what clients present takes a while to make."""
    if environment.parsed_options.headless and not _is_distributed(environment):
        _prepare(environment, 0)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def prepare(environment: Any, **_: Any) -> None:
    """Make what the clients present, in each process that runs some; the clients begin."""
    if isinstance(environment.runner, WorkerRunner):
        _prepare(environment, environment.runner.worker_index)
    elif not _is_distributed(environment) and not environment.parsed_options.headless:
        _prepare(environment, 0)
    recorder.start()


def _prepare(environment: Any, index: int) -> None:
    options = environment.parsed_options
    Client.requests = Requests(
        options.scenario, _credentials(options, index), recorder, seed=time.time_ns() + index
    )
    Client.most = options.most
    Client.seconds = options.seconds


@events.request.add_listener  # type: ignore[untyped-decorator]
def note(name: str, response_time: float, exception: Exception | None, **_: Any) -> None:
    """Called by Locust after each request; the time is in milliseconds."""
    recorder.note(name, response_time, None if exception is None else str(exception))


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def write(environment: Any, **_: Any) -> None:
    """Leave what was noted for the driver."""
    directory = environment.parsed_options.recordings
    if directory and not isinstance(environment.runner, MasterRunner):
        recorder.write(Path(directory))


def _is_distributed(environment: Any) -> bool:
    return isinstance(environment.runner, (MasterRunner, WorkerRunner))


def _credentials(options: Namespace, index: int) -> Credentials:
    """Numbered credentials of a known service, or the one whose secret is in the environment."""
    if options.derivation_key_file:
        maker = read_derivation_key(Path(options.derivation_key_file))
        # Each process presents others of those that are presented once.
        first = options.fresh_from + index * options.fresh_keys
        fresh = range(first, first + options.fresh_keys)
        return Credentials(
            options.keys, fresh, lambda number: secret_of(number, maker), forged_secret_of
        )
    given = os.environ.get(SECRET, "")
    if not given:
        raise SystemExit(
            f"\nlocust: no credential to present. Set {SECRET}: `make serve`, at its first start, "
            "and `latchkey init` show the line to paste; or `latchkey keys create --name load "
            "--mode live`. --host says where the service is, http://127.0.0.1:8080 by default.\n"
        )
    return Credentials(1, range(0), lambda _: given, forged_secret_of)
