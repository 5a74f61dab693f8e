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


# ---- With other boxes


def publish_among_boxes(
    outcome: Outcome[str], fault: Exception | None = None
) -> tuple[object, list[object]]:
    """The result or the error, and the actions in their order."""
    events: list[object] = []

    def settle(publication: Publication, *, found_made: bool = False) -> None:
        events.append(("settle", list(publication.log_rows), found_made))
        if fault is not None:
            raise fault

    publisher = Publisher(Heads(events), events.append, settle=settle)
    try:
        return publisher.publish(outcome), events
    except (DuplicateApiKey, StoreError) as error:
        return error, events


def test_other_boxes_are_waited_for_before_the_head_is_kept() -> None:
    settled = ("settle", [4, 5], False)
    expected = ["one", "two", settled, ("keep", HEAD)]
    assert publish_among_boxes(Made("result", ALL)) == ("result", expected)


def test_the_head_is_kept_if_the_other_boxes_are_unknown() -> None:
    error = StoreError("they cannot be listed")
    result, events = publish_among_boxes(Made("result", ALL), error)
    assert result is error
    assert events[-1] == ("keep", HEAD)


def test_a_change_that_was_already_made_waits_too() -> None:
    made = Refused(DuplicateApiKey(), Publication(["one"]))
    result, events = publish_among_boxes(made)
    assert result is made.error
    assert events == ["one", ("settle", [], True)]


def test_a_change_whose_commit_failed_does_not_wait() -> None:
    failed = Refused(StoreError("the commit failed"), Publication(["one"]))
    assert publish_among_boxes(failed) == (failed.error, ["one"])


def test_a_refusal_without_lookups_does_not_wait() -> None:
    refused = Refused(DuplicateApiKey())
    assert publish_among_boxes(refused) == (refused.error, [])
