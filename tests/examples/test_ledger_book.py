"""The book of the ledger on its own: a process is killed at each statement of a transfer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LEDGER = Path(__file__).parents[2] / "examples" / "ledger"

TRANSFER = """
import json, os, signal, sqlite3, sys
from functools import partial
from pathlib import Path
from ledger.book import Book, Order

path, last = Path(sys.argv[1]), int(sys.argv[2])
book = Book(path)
book.open_account("bank", may_overdraw=True)
book.open_account("till", may_overdraw=False)

class Killed(sqlite3.Connection):
    statements = 0
    def count(self):
        Killed.statements += 1
        if Killed.statements == last:
            os.kill(os.getpid(), signal.SIGKILL)
    def execute(self, *arguments):
        self.count()
        return super().execute(*arguments)
    def executemany(self, *arguments):
        self.count()
        return super().executemany(*arguments)

sqlite3.connect = partial(sqlite3.connect, factory=Killed)
made = book.transfer("caller", "key", Order("bank", "till", 5))
statements, Killed.statements = Killed.statements, last
balances = {account.name: account.balance for account in book.accounts()}
print(json.dumps([statements, made.is_new, balances]))
"""


def transfer(path: Path, last: int) -> Any:
    """Make one transfer in a process that is killed before statement ``last``; 0: it is not."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRANSFER, str(path), str(last)],
        cwd=LEDGER,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.attack
def test_a_transfer_is_made_once_wherever_its_process_is_killed(tmp_path: Path) -> None:
    statements, is_new, balances = transfer(tmp_path / "whole.db", 0)
    assert (is_new, balances) == (True, {"bank": -5, "till": 5})
    for last in range(1, statements + 1):
        path = tmp_path / f"killed-{last}.db"
        assert transfer(path, last) is None
        assert transfer(path, 0)[1:] == [True, {"bank": -5, "till": 5}]
        assert transfer(path, 0)[1:] == [False, {"bank": -5, "till": 5}]
