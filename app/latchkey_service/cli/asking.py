"""Questions at the terminal: confirmations and secrets.

A command that cannot be undone asks first, unless --yes is given. It checks that the action is
possible before it asks. Without a terminal and without --yes it changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from latchkey.errors import LatchkeyError


class NobodyToAsk(LatchkeyError):
    """A question must be answered, and there is no terminal."""


def confirm(question: str, yes: bool) -> None:
    """Return after a yes, or at once if ``yes`` was given on the command line.

    Raises NobodyToAsk if standard input is not a terminal, and click.Abort after a no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise NobodyToAsk(
            "nothing was done: this command asks for confirmation, and standard input is not a "
            "terminal; use --yes to skip the question"
        )
    click.confirm(question, abort=True, err=True)


def ask_secret(prompt: str, instead: str, *, twice: bool = False) -> str:
    """A secret, typed without echo; ``instead`` names the option to use without a terminal."""
    if not _has_terminal():
        raise NobodyToAsk(
            f"nothing was done: there is no terminal to ask for the {prompt.lower()}; use {instead}"
        )
    answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return answer


def first_line_of_input() -> str:
    """The first line of standard input; raises LatchkeyError if it is not text."""
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise LatchkeyError("standard input is not text in the terminal's encoding") from None


def _has_terminal() -> bool:
    if sys.stdin.isatty():
        return True
    # getpass asks at the terminal even if standard input is something else.
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False
