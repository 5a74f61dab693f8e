"""Clients for Locust: ``locust -f benchmarks/load/locustfile.py``, from the root of the checkout.

To run it by hand against ``make serve``, set ``LIVE_API_SECRET``, which ``latchkey init`` shows as
a line to paste. It then requests ``/v1/account`` of http://127.0.0.1:8080. The driver of the
benchmarks passes ``--derivation-key-file`` instead, from which the secrets of numbered credentials
are derived.
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
    """A client with its own connection, which sends the next request after each answer."""

    host = "http://127.0.0.1:8080"
    wait_time = constant(0)
    requests: Requests
    most = 0
    seconds = 0
    ending = False

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """Send the next request of the scenario."""
        try:
            self.requests.send(self._send)
        except OutOfCredentials:
            self._end()
        late = self.seconds and time.monotonic() - recorder.began >= self.seconds
        if (late and recorder.count) or (self.most and recorder.count >= self.most):
            self._end()

    def _end(self) -> None:
        """End the run, once for all clients, and wait until this client is ended.

        With several processes, it only waits: their controller ends all of them.
        """
        if not Client.ending and not isinstance(self.environment.runner, WorkerRunner):
            Client.ending = True
            # In another greenlet: the runner would have to end the client that calls it.
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
    """Add the options of the command line, the environment and the web interface."""
    parser.add_argument(
        "--scenario",
        choices=get_args(Scenario),
        default="hits",
        help="the scenario",
        **_in_environment("LOAD_SCENARIO"),
    )
    parser.add_argument(
        "--keys", type=int, default=1, help="credentials in use", **_in_environment("LOAD_KEYS")
    )
    parser.add_argument(
        "--fresh-keys",
        type=int,
        default=0,
        help="number of credentials that are presented once",
        **_in_environment("LOAD_FRESH_KEYS"),
    )
    parser.add_argument(
        "--fresh-from",
        type=int,
        default=0,
        help="the first number of these credentials",
        **_in_environment("LOAD_FRESH_FROM", shown=False),
    )
    parser.add_argument(
        "--derivation-key-file",
        default="",
        help="the service's derivation key file, from which numbered credentials are derived",
        **_in_environment("LOAD_DERIVATION_KEY_FILE", shown=False),
    )
    parser.add_argument(
        "--recordings",
        default="",
        help="a directory for the recordings of each process",
        **_in_environment("LOAD_RECORDINGS", shown=False),
    )
    parser.add_argument(
        "--seconds",
        type=int,
        default=0,
        help="seconds after the first answer at which a single process ends",
        **_in_environment("LOAD_SECONDS", shown=False),
    )
    parser.add_argument(
        "--most",
        type=int,
        default=0,
        help="number of requests after which a process sends no more",
        env_var="LOAD_MOST",
    )


def _in_environment(name: str, *, shown: bool = True) -> Any:
    return {"env_var": name, "include_in_web_ui": shown}


@events.init.add_listener  # type: ignore[untyped-decorator]
def prepare_early(environment: Any, **_: Any) -> None:
    """Derive the presented credentials before the duration of a run starts to count."""
    if environment.parsed_options.headless and not _is_distributed(environment):
        _prepare(environment, 0)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def prepare(environment: Any, **_: Any) -> None:
    """Prepare the credentials in each process with clients, which then start."""
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
    """Record a request; called by Locust after each one, with the time in milliseconds."""
    recorder.note(name, response_time, None if exception is None else str(exception))


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def write(environment: Any, **_: Any) -> None:
    """Write the recording for the driver."""
    directory = environment.parsed_options.recordings
    if directory and not isinstance(environment.runner, MasterRunner):
        recorder.write(Path(directory))


def _is_distributed(environment: Any) -> bool:
    return isinstance(environment.runner, (MasterRunner, WorkerRunner))


def _credentials(options: Namespace, index: int) -> Credentials:
    """Numbered credentials of a known service, or the one with the secret in the environment."""
    if options.derivation_key_file:
        maker = read_derivation_key(Path(options.derivation_key_file))
        # Each process presents different ones of the credentials that are presented once.
        first = options.fresh_from + index * options.fresh_keys
        fresh = range(first, first + options.fresh_keys)
        return Credentials(
            options.keys, fresh, lambda number: secret_of(number, maker), forged_secret_of
        )
    given = os.environ.get(SECRET, "")
    if not given:
        raise SystemExit(
            f"\nlocust: no credential to present. Set {SECRET}: `latchkey init`, and `make serve` "
            "at its first start, show the line to paste; or use `latchkey keys create --name load "
            "--mode live`. --host is the service's URL, by default http://127.0.0.1:8080.\n"
        )
    return Credentials(1, range(0), lambda _: given, forged_secret_of)
