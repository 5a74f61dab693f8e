"""A user's own application under several process models: served, or refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.faults.service_processes import wait_until
from tests.support.service import Service

ROOT = Path(__file__).parents[2]
GUNICORN = [str(Path(sys.executable).with_name("gunicorn")), "--workers=2", "--no-control-socket"]
REFUSAL = "Latchkey was built before a fork: build it in each process"

SITE = """
from flask import Flask
from latchkey import Latchkey, OpenRoutes, any_credential
app = Flask("site")
@app.get("/orders")
@any_credential
def orders():
    return {}
@app.get("/health")
def health():
    return {}
latchkey = Latchkey.join()
latchkey.protect(app, OpenRoutes({("GET", "/health")}))
"""

# gunicorn reads it in its working directory.
HOOK = """
def post_worker_init(worker):
    open(f"started-{worker.pid}", "x").close()
"""

# A child uses what its parent created: each call is refused, and none blocks.
FORKED = """
import os, sys, time, multiprocessing, threading
from datetime import UTC, datetime
from site_of_ones_own import app, latchkey
from latchkey.errors import StoreError
secret = os.environ["SECRET"]
headers = {"Authorization": f"Bearer {secret}"}
assert app.test_client().get("/orders", headers=headers).status_code == 200
def use():
    for headers_of_one in (headers, {}):
        for path in ("/orders", "/health"):
            answer = app.test_client().get(path, headers=headers_of_one)
            code = answer.json.get("error", {}).get("code", "")
            if answer.status_code != 500 or code.lower() != "internal_error":
                print("served", flush=True)
    try:
        latchkey.store.find(secret)
    except StoreError as error:
        print(error.detail, flush=True)
    latchkey.store.close()
"""
CHILDREN = {
    "fork": """
child = os.fork()
if not child:
    use()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
    "multiprocessing": """
child = multiprocessing.get_context("fork").Process(target=use)
child.start()
child.join()
assert child.exitcode == 0
""",
    "of a child": """
child = os.fork()
if not child:
    grandchild = os.fork()
    if not grandchild:
        use()
        sys.exit(0)
    sys.exit(os.waitpid(grandchild, 0)[1])
assert os.waitpid(child, 0)[1] == 0
""",
}
AFTERWARDS = """
assert app.test_client().get("/orders", headers=headers).status_code == 200
print("done", flush=True)
"""


@pytest.fixture
def box(tmp_path: Path) -> Service:
    """A database and keys, without a service."""
    memory = tmp_path / "memory"
    memory.mkdir()
    box = Service(tmp_path, LATCHKEY_SHARED_MEMORY=str(memory), LATCHKEY_SHARED_SIZE="8")
    box.initialize()
    (tmp_path / "site_of_ones_own.py").write_text(SITE)
    (tmp_path / "gunicorn.conf.py").write_text(HOOK)
    return box


def environment(box: Service, **more: str) -> dict[str, str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "app"), str(box.directory)))
    return {**box.environment(), "PYTHONPATH": path, **more}


@contextmanager
def running(box: Service, *command: str) -> Iterator[None]:
    """Run a user's own server until it responds; at the end, it must exit by itself."""
    with box.log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=box.directory,
            env=environment(box),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            process_group=0,
        )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                box.get("/health")
                break
            except OSError:
                assert process.poll() is None, box.log
                assert time.monotonic() < until, box.log
                time.sleep(0.05)
        if "--workers=2" in command:
            # A worker that is still starting ignores the signal that ends it.
            wait_until(lambda: len(list(box.directory.glob("started-*"))) >= 2, "every worker")
        yield
        if "gunicorn" in command[0]:
            process.terminate()
        else:
            # Like a terminal: the signal goes to all processes at once.
            os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def left_in_memory(box: Service) -> list[str]:
    return os.listdir(box.settings["LATCHKEY_SHARED_MEMORY"])


@pytest.mark.parametrize(
    "server",
    [
        [*GUNICORN, "site_of_ones_own:app"],
        [*GUNICORN, "--worker-class=gevent", "site_of_ones_own:app"],
        [sys.executable, "-m", "flask", "--app", "site_of_ones_own", "run", "--debug"],
    ],
    ids=["gunicorn", "gunicorn with gevent", "flask run --debug"],
)
def test_an_application_created_after_the_fork_serves(box: Service, server: list[str]) -> None:
    pair = box.create_key()
    address = f"--bind=127.0.0.1:{box.port}" if "gunicorn" in server[0] else f"--port={box.port}"
    with running(box, *server, address):
        assert {box.get("/orders", pair.bearer).status for _ in range(8)} == {200}
        box._prepare("keys", "revoke", "--yes", pair.api_key)
        assert {box.get("/orders", pair.bearer).status for _ in range(8)} == {401}
    assert "Traceback" not in box.log
    left = left_in_memory(box)
    if left and "--debug" in server:
        # Its reloader kills the process that it reloads a quarter of a second after the signal. The
        # next start then removes the memory.
        with running(box, *server, address):
            assert set(left).isdisjoint(left_in_memory(box))
    else:
        assert left == []


def test_a_preloaded_application_is_refused(box: Service) -> None:
    pair = box.create_key()
    address = f"--bind=127.0.0.1:{box.port}"
    with running(box, *GUNICORN, "--preload", address, "site_of_ones_own:app"):
        for headers in (pair.bearer, {}):
            for path in ("/orders", "/health"):
                assert box.get(path, headers).status == 500
    # One line for each worker, and no traceback, also at the end.
    assert 1 <= box.log.count(REFUSAL) <= 2
    assert "Traceback" not in box.log
    assert left_in_memory(box) == []


@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_cannot_use_the_application_of_its_parent(box: Service, child: str) -> None:
    code = FORKED + CHILDREN[child] + AFTERWARDS
    secret = box.create_key().api_secret
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=box.directory,
        env=environment(box, SECRET=secret),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stderr.startswith(REFUSAL)
    assert run.stderr.count("\n") == 1
    refused, done = run.stdout.splitlines()
    assert refused.startswith("Latchkey was built before a fork")
    assert done == "done"
    assert left_in_memory(box) == []


def test_a_child_that_outlives_its_parent_holds_no_lock(box: Service) -> None:
    code = FORKED + "if not os.fork():\n    sys.stdin.read()\n    sys.exit(0)\nprint('parent')\n"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=box.directory,
        env=environment(box, SECRET=box.create_key().api_secret),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.wait(60) == 0
        assert left_in_memory(box) == []
        # A command is refused while a service runs that it cannot reach.
        box.create_key()
        output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("parent\n", "")
