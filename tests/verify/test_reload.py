"""The routes file of a running service: read at the start, and again at SIGHUP."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.faults.service_processes import master, wait_until
from tests.support.service import Service

OPEN = '[[rule]]\npath = "/open"\nopen = true\n'


def test_the_file_is_read_again_at_hup(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(OPEN + OPEN)
    with Service(tmp_path, LATCHKEY_VERIFY_ROUTES="routes.toml") as service:
        assert "2 rules in the routes file" in service.log
        assert f"{file}:4: never matches, because line 1 matches all its requests" in service.log
        file.write_text(f"{OPEN}[[rule]]\n")
        os.kill(master(service), signal.SIGHUP)
        wait_until(lambda: "the routes file was not reloaded" in service.log, "the reload")
        (line,) = [one for one in service.log.splitlines() if "routes file was not" in one]
        assert line.endswith(
            f"the current rules stay in use: LATCHKEY_VERIFY_ROUTES: {file}:4: path: is required"
        )
        file.write_text(OPEN)
        os.kill(master(service), signal.SIGHUP)
        wait_until(lambda: "1 rule in the routes file" in service.log, "the second reload")
