"""What a command asks at the terminal: whether to go on, and for a secret.

A command that removes, revokes or replaces something for good asks first, unless it is told --yes.
It checks before it asks whether it can do what it asks about. Without a terminal it does nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from latchkey.errors import LatchkeyError


class NobodyToAsk(LatchkeyError):
    """A question has to be answered, and there is no terminal."""


def confirm(question: str, yes: bool) -> None:
    """Go on only after a yes; ``yes`` was said on the command line already.

    Raises NobodyToAsk where standard input is no terminal, and click.Abort after a no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise NobodyToAsk(
            "nothing was done: this asks before it goes on, and standard input is not a terminal; "
            "--yes goes on without asking"
        )
    click.confirm(question, abort=True, err=True)


def ask_secret(prompt: str, instead: str, *, twice: bool = False) -> str:
    """A secret, typed unseen; ``instead`` names what gives it where there is no terminal."""
    if not _has_terminal():
        raise NobodyToAsk(
            f"nothing was done: there is no terminal to ask for the {prompt.lower()} at; "
            f"use {instead}"
        )
    answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return answer


def first_line_of_input() -> str:
    """The first line of standard input; raises LatchkeyError where it is no text."""
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise LatchkeyError("standard input is not text in the terminal's encoding") from None


def _has_terminal() -> bool:
    if sys.stdin.isatty():
        return True
    # Where a password is asked for although standard input is something else.
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False
