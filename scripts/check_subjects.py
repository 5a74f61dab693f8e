"""Check the subjects of commits since the latest release: imperative, at most 72 characters.

usage: check_subjects.py [DIRECTORY]

Without git, a history or a tag `v*`, nothing is checked.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 72

# Imperatives that look like another form of a verb.
_IMPERATIVES = """
address access assess bring bypass compress cross discuss dismiss embed express feed focus guess
miss need pass press process proceed shed speed string stress suppress
"""
_OTHER_FORMS = re.compile(r"(?:[a-z]{2,}(?:ed|ing)|[a-z]+[^s]s)", re.ASCII)
# First words that cannot be an imperative.
_NO_VERBS = """
a all an and another any are as at be both by each either every for from had has he her his how
however i if in is it its made more my neither new nor of on one or our she some that the their
there they this those to two was we were what whatever when where whether which who whoever whose
why wip with without you your
"""


def faults(subject: str) -> list[str]:
    """The faults of a subject; empty if it is valid."""
    found = []
    if len(subject) > LONGEST:
        found.append(f"has {len(subject)} characters, more than {LONGEST}")
    if subject.endswith("."):
        found.append("ends with a period")
    word, _, rest = subject.partition(" ")
    if re.fullmatch(r"\S+:", word):
        found.append("begins with a prefix instead of a verb")
    elif not word.isalpha() or not word[0].isupper() or not rest:
        found.append("does not begin with a capitalised verb and its object")
    elif word.lower() in _NO_VERBS.split() or (
        word.lower() not in _IMPERATIVES.split() and _OTHER_FORMS.fullmatch(word.lower())
    ):
        found.append(f"begins with {word!r} instead of an imperative such as Add, Fix, Remove")
    return found


def subjects(directory: Path) -> Iterator[tuple[str, str]]:
    """The short id and the subject of each commit after the latest tag; merges are left out."""
    tag = _git(directory, "describe", "--tags", "--abbrev=0", "--match", "v*")
    if not tag:
        return
    listed = _git(directory, "log", "--no-merges", "--format=%h %s", f"{tag}..HEAD")
    for line in (listed or "").splitlines():
        commit, _, subject = line.partition(" ")
        yield commit, subject


def _git(directory: Path, *arguments: str) -> str | None:
    """The output of git; None if git is missing or fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - the developer's git
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def main() -> int:
    """Print each subject with a fault; the status is 1 if there is one."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    status = 0
    for commit, subject in subjects(directory):
        for fault in faults(subject):
            print(f"{commit} {subject!r}: {fault}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
