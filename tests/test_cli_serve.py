"""latchkey serve as a person runs it: addresses, shutdown, and refused options."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from latchkey.store.database_urls import database_at
from tests.support.command_line import fails, one_line
from tests.support.faults.service_processes import children, master, wait_until, workers
from tests.support.ports import free_port
from tests.support.service import LATCHKEY, Service


@pytest.fixture
def begin(box: Service) -> Iterator[Callable[..., Service]]:
    """Start ``latchkey serve`` on the database of the module, with additional arguments."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> Service:
        service = Service(box.directory)
        service.port = free_port()
        service.log_path.unlink(missing_ok=True)
        bind = f"127.0.0.1:{service.port}"
        with service.log_path.open("wb") as log:
            service.process = subprocess.Popen(
                [LATCHKEY, "serve", "--bind", bind, *arguments],
                env=service.environment(),
                stdout=log,
                stderr=log,
            )
        started.append(service.process)
        return service

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def serving(begin: Callable[..., Service]) -> Callable[..., Service]:
    """The same, and wait until it answers."""

    def serve(*arguments: str) -> Service:
        service = begin(*arguments)
        wait_until(lambda: answers(service), f"an answer:\n{service.log}")
        return service

    return serve


def answers(service: Service) -> bool:
    try:
        return service.get("/health").status == 200
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_accepts_bind_and_workers_and_exits_cleanly(
    serving: Callable[..., Service], number: signal.Signals
) -> None:
    service = serving("--workers", "3", "--threads", "1")
    # A worker that has not started its threads yet ignores the signal.
    wait_until(
        lambda: (
            [len(list(Path(f"/proc/{pid}/task").iterdir())) > 1 for pid in workers(service)]
            == [True] * 3
        ),
        "three workers",
    )
    assert service.process is not None
    service.process.send_signal(number)
    assert service.process.wait(60) == 0
    assert "Traceback" not in service.log
    assert not answers(service)


def test_serve_reports_a_port_in_use(box: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        run = box.command("serve", "--bind", bind, check=False)
    assert run.returncode == 1
    assert one_line(run.stderr) == (
        f"latchkey: --bind: cannot listen on {bind}: Address already in use"
    )


def test_serve_waits_for_a_port_that_becomes_free(
    serving: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as taken:
        monkeypatch.setattr("tests.test_cli_serve.free_port", lambda: port)
        threading.Timer(1.0, taken.close).start()
        serving("--workers", "1")


def test_signals_during_the_start_take_effect_after_it(
    begin: Callable[..., Service], box: Service
) -> None:
    """They arrive while the master waits for the process that migrates the database."""
    with database_at(box.settings["LATCHKEY_DATABASE_URL"]).preparing():
        service = begin()
        wait_until(lambda: bool(children(master(service))), "the process that migrates")
        for number in (signal.SIGUSR1, signal.SIGTTOU, signal.SIGHUP):
            os.kill(master(service), number)
    wait_until(lambda: "Hang up: Master" in service.log, "the reload")
    wait_until(lambda: answers(service), "an answer after the reload")


def test_a_failed_start_after_a_signal_reports_its_reason() -> None:
    code = (
        "import os, signal, sys\n"
        "from latchkey_service.server.early_signals import hold_signals\n"
        "with hold_signals():\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    sys.exit('the reason')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "the reason\n")


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--bind", "127.0.0.1:65536", "latchkey: --bind has an invalid value."),
        ("--bind", "nowhere", "latchkey: --bind has an invalid value."),
        ("--workers", "0", "latchkey: --workers has an invalid value."),
        ("--threads", "many", "latchkey: --threads has an invalid value."),
        ("--threads", "", "latchkey: --threads has an invalid value."),
    ],
)
def test_serve_refuses_bad_options(box: Service, option: str, value: str, line: str) -> None:
    assert one_line(fails(box, "serve", option, value)).startswith(line)
