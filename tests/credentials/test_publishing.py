"""Publishing the outcome of a change: its content, its order, and refused changes."""

from __future__ import annotations

import pytest

from latchkey.credentials.audit import Head
from latchkey.credentials.publishing import Made, Outcome, Publication, Publisher, Refused
from latchkey.errors import DuplicateApiKey, StoreError

HEAD = Head(7, "ab" * 32)
ALL = Publication(["one", "two", "one"], range(4, 6), HEAD)


class Heads:
    """The kept head of the audit log."""

    def __init__(self, events: list[object]) -> None:
        self._events = events

    def keep(self, head: Head) -> None:
        self._events.append(("keep", head))

    def replace(self, head: Head) -> None:
        self._events.append(("replace", head))


def publish(outcome: Outcome[str]) -> tuple[str | None, list[object]]:
    """The result, and the actions in their order."""
    events: list[object] = []
    publisher = Publisher(Heads(events), events.append, events.append)
    try:
        return publisher.publish(outcome), events
    except (DuplicateApiKey, StoreError):
        return None, events


def test_lookups_are_published_first_and_once_and_the_head_last() -> None:
    assert publish(Made("result", ALL)) == ("result", ["one", "two", 4, 5, ("keep", HEAD)])


def test_a_head_that_does_not_follow_replaces_the_kept_head() -> None:
    made = Made("result", Publication(head=HEAD, replaces_head=True))
    assert publish(made) == ("result", [("replace", HEAD)])


def test_an_unchanged_state_publishes_nothing() -> None:
    assert publish(Made("result")) == ("result", [])


@pytest.mark.parametrize("error", [DuplicateApiKey(), StoreError("the commit failed")])
def test_a_refused_change_publishes_only_lookups(error: Exception) -> None:
    """Its log rows, if there are any, are left to the replay."""
    assert publish(Refused(error, ALL)) == (None, ["one", "two"])


def test_a_process_that_cannot_invalidate_publishes_no_change_of_keys() -> None:
    events: list[object] = []
    publisher = Publisher(Heads(events))
    with pytest.raises(RuntimeError, match="cannot be published"):
        publisher.publish(Made("result", ALL))
    assert publisher.publish(Made("result", Publication(head=HEAD))) == "result"
    assert events == [("keep", HEAD)]
