"""The book of the ledger on its own: a process is killed at each statement of a transfer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LEDGER = Path(__file__).parents[2] / "examples" / "ledger"

# Writes the balances after an undisturbed transfer. Then, for each of its statements: the signal by
# which a child ended that was killed before the statement, and two transfers under the same key.
TRANSFERS = """
import json, os, signal, sqlite3, sys
from functools import partial
from pathlib import Path
from ledger.book import Book, Order

class Killed(sqlite3.Connection):
    statements, last = 0, 0
    def count(self):
        Killed.statements += 1
        if Killed.statements == Killed.last:
            os.kill(os.getpid(), signal.SIGKILL)
    def execute(self, *arguments):
        self.count()
        return super().execute(*arguments)
    def executemany(self, *arguments):
        self.count()
        return super().executemany(*arguments)

sqlite3.connect = partial(sqlite3.connect, factory=Killed)

def transfer(book, last=0):
    Killed.statements, Killed.last = 0, last
    made = book.transfer("caller", "key", Order("bank", "till", 5))
    statements, Killed.last = Killed.statements, 0
    balances = {account.name: account.balance for account in book.accounts()}
    return statements, made.is_new, balances

def opened(name):
    book = Book(Path(sys.argv[1]) / name)
    book.open_account("bank", may_overdraw=True)
    book.open_account("till", may_overdraw=False)
    return book

statements, *undisturbed = transfer(opened("whole.db"))
killed = []
for last in range(1, statements + 1):
    book = opened(f"killed-{last}.db")
    child = os.fork()
    if child == 0:
        transfer(book, last)
        os._exit(0)
    ended = os.WTERMSIG(os.waitpid(child, 0)[1])
    killed.append([ended, transfer(book)[1:], transfer(book)[1:]])
json.dump([undisturbed, killed], sys.stdout)
"""


@pytest.mark.attack
def test_a_transfer_is_made_once_wherever_its_process_is_killed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRANSFERS, str(tmp_path)],
        cwd=LEDGER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    undisturbed, killed = json.loads(done.stdout)
    balances = {"bank": -5, "till": 5}
    assert undisturbed == [True, balances]
    assert len(killed) > 5
    for each in killed:
        assert each == [signal.SIGKILL, [True, balances], [False, balances]]
