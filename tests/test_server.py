"""gunicorn with our settings: refusals of a worker, number of workers, exit."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gunicorn.http import errors as http_errors

from latchkey.box.segment import ServiceSegment
from latchkey.config import load_settings
from latchkey.key_files import load_derivation, load_seal, make_audit_key_file
from latchkey.store.sqlite.migrate import migrate_in_child
from latchkey_service.server.master import _Server
from latchkey_service.server.service_log import RedactingLogger
from latchkey_service.server.worker import EnvelopeWorker
from tests.support.faults.service_processes import wait_until, workers
from tests.support.service import LATCHKEY, Service


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvelopeWorker]:
    """A worker as gunicorn creates it before the fork; its log is in ``worker.log``."""
    directory = tmp_path_factory.mktemp("worker")
    prepared = Service(directory, LATCHKEY_WORKERS="1", LATCHKEY_DERIVATION_KEYS="ab" * 32)
    del prepared.settings["LATCHKEY_DERIVATION_KEYS_FILE"]
    settings = load_settings(prepared.settings)
    report = migrate_in_child(settings.database_url)
    make_audit_key_file(settings, report.audit_rows)
    seal = load_seal(settings)
    segment = ServiceSegment.open(settings)
    server = _Server(settings, load_derivation(settings), seal, None, report, segment, [])
    server.cfg.set("errorlog", str(directory / "worker.log"))
    log = RedactingLogger(server.cfg)
    made = EnvelopeWorker(1, os.getpid(), [], server, 30, server.cfg, log)
    yield made
    made.tmp.close()
    for handler in log.error_log.handlers:
        handler.close()
    segment.close()


def log_of(worker: EnvelopeWorker) -> str:
    return Path(worker.cfg.errorlog).read_text()


def refusal(worker: EnvelopeWorker, fault: BaseException) -> tuple[int, dict[str, str]]:
    """The status and the error for a client whose request was not parsed at all."""
    client, served = socket.socketpair()
    with client, served:
        worker.handle_error(None, served, ("127.0.0.1", 1), fault)
        served.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    error: dict[str, str] = json.loads(body)["error"]
    return int(head.split()[1]), error


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (http_errors.LimitRequestHeaders("sk_live_x"), 431, "HEADERS_TOO_LARGE"),
        (http_errors.LimitRequestLine(9_000, 8_190), 414, "URI_TOO_LONG"),
        (http_errors.ExpectationFailed("sk_live_x"), 417, "EXPECTATION_FAILED"),
        (http_errors.UnsupportedTransferCoding("sk_live_x"), 501, "NOT_IMPLEMENTED"),
        (http_errors.InvalidHTTPVersion((2, 0)), 400, "INVALID_REQUEST"),
        (http_errors.InvalidHTTPVersion("sk_live_x"), 400, "INVALID_REQUEST"),
        (http_errors.InvalidRequestLine("sk_live_x"), 400, "INVALID_REQUEST"),
        (http_errors.InvalidHeader("sk_live_x"), 400, "INVALID_REQUEST"),
        # These two are about the response of the application.
        (http_errors.InvalidResponseHeader("x"), 500, "INTERNAL_ERROR"),  # type: ignore[attr-defined]
        (http_errors.InvalidResponseHeaderName("x"), 500, "INTERNAL_ERROR"),  # type: ignore[attr-defined]
        (ValueError("x"), 500, "INTERNAL_ERROR"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_worker_answers_its_own_refusals(
    worker: EnvelopeWorker, fault: Exception, status: int, code: str
) -> None:
    before = len(log_of(worker))
    answered, error = refusal(worker, fault)
    assert (answered, error["code"]) == (status, code)
    # Errors of a client are logged by kind only, our own with all details.
    said = log_of(worker)[before:]
    assert type(fault).__name__ in said
    assert "sk_live_x" not in said
    assert ("a request failed outside the application" in said) == (status == 500)


def test_a_disconnected_client_gets_no_response(worker: EnvelopeWorker) -> None:
    before = len(log_of(worker))
    client, served = socket.socketpair()
    client.close()
    with served:
        worker.handle_error(None, served, None, http_errors.InvalidRequestLine("x"))
    # A peer that resets the connection, as over a network.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        away = socket.create_connection(listener.getsockname())
        away.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted, _ = listener.accept()
        away.close()
        with accepted:
            worker.handle_error(None, accepted, None, http_errors.InvalidRequestLine("x"))
    assert "Traceback" not in log_of(worker)[before:]


def test_without_shared_memory_only_one_worker_runs(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    memory = tmp_path / "nowhere"
    service = start_service(LATCHKEY_WORKERS="1", LATCHKEY_SHARED_MEMORY=str(memory))
    (only,) = workers(service)
    assert "shared memory is unavailable, so only one worker can run" in service.log
    assert service.process is not None
    service.process.send_signal(signal.SIGTTIN)
    wait_until(lambda: "only one worker is allowed" in service.log, "the refusal")
    assert service.get("/ready").status == 200
    assert workers(service) == [only]
    service.stop()
    assert "Traceback" not in service.log


def test_counts_that_cannot_be_persisted_at_exit_are_left_for_the_next_start(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(LATCHKEY_WORKERS="1")
    pair = service.issue()
    for _ in range(3):
        assert service.get("/v1/account", pair.bearer).status == 200
    away = service.database.with_name("away.db")
    service.database.rename(away)
    service.stop()
    assert re.search(r"the shared memory is kept for the next start: \S", service.log)
    record = json.loads(service.database.with_name("latchkey.db-service").read_text())
    assert Path(record["segment"]).exists()

    away.rename(service.database)
    service.start()
    used = service.get(f"/v1/api_keys/{pair.api_key}/usage", pair.bearer).json
    # Including this request.
    assert used["requests"] == 4


def test_variables_of_gunicorn_do_not_reach_the_service() -> None:
    environment = {**os.environ, "WEB_CONCURRENCY": "abc", "GUNICORN_CMD_ARGS": "--workers=x"}
    done = subprocess.run(
        [LATCHKEY, "serve", "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    code = "import latchkey_service.server.master"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
