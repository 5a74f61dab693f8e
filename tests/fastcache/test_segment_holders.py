"""The holders of a segment: the last removes it, and claims end with their process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from fastcache.shared import Segment, SegmentMissing
from tests.support.fastcache.children import Child, Signal, all_end_well
from tests.support.fastcache.segments import REGIONS, words_of

pytestmark = pytest.mark.usefixtures("no_descriptor_stays_open")


def test_removed_by_the_last_holder_only(path: Path) -> None:
    first = Segment.create(path, REGIONS)
    second = Segment.attach(path)
    assert not first.remove()
    assert not second.remove()
    second.close()
    # A shared hold that could not become exclusive stays a shared one.
    third = Segment.attach(path)
    assert not third.remove()
    third.close()
    assert first.remove()
    assert not path.exists()
    assert not first.remove()
    with pytest.raises(SegmentMissing):
        Segment.attach(path)
    words_of(first).add(0)
    with first.reopened() as again:
        assert words_of(again).value(0) == 1
    first.close()


def test_one_of_two_leaving_holders_removes_it(path: Path) -> None:
    """Cover every order of their steps: release, check for other holders, close."""
    for order in sorted({"".join(order) for order in permutations("aaabbb")}):
        first = Segment.create(path, REGIONS)
        handles = {"a": first, "b": Segment.attach(path)}
        left = {name: _leaving(handle) for name, handle in handles.items()}
        removed = [done for name in order if (done := next(left[name])) is not None]
        assert sorted(removed) == [False, True], order
        assert not path.exists()
        for handle in handles.values():
            handle.close()


def _leaving(segment: Segment) -> Iterator[bool | None]:
    """Run `leave` in a thread that waits between its three steps."""
    step, done = threading.Semaphore(0), threading.Semaphore(0)
    result: list[bool] = []
    remove_alone = segment._remove_alone

    def second_step(last: Callable[[], None]) -> bool:
        done.release()
        step.acquire()
        removed = remove_alone(last)
        done.release()
        step.acquire()
        return removed

    segment._remove_alone = second_step  # type: ignore[method-assign]

    def work() -> None:
        step.acquire()
        result.append(segment.leave())
        done.release()

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(3):
        step.release()
        done.acquire()
        yield result[0] if result else None
    thread.join()


def test_another_segment_with_its_name_is_not_removed(path: Path) -> None:
    with Segment.create(path, REGIONS) as segment:
        path.unlink()
        with Segment.create(path, REGIONS) as other:
            assert other.uuid != segment.uuid
            assert not segment.remove()
    assert path.exists()


def test_the_hold_ends_with_its_process(path: Path) -> None:
    holds = Signal()

    def work() -> None:
        with Segment.attach(path):
            holds.send()
            signal.pause()

    with Segment.create(path, REGIONS) as segment, Child(work) as child:
        assert holds.receive()
        assert not segment.remove()
        child.kill()
        assert segment.remove()


def test_claims_are_exclusive_and_end_with_the_process(path: Path) -> None:
    claimed = Signal()

    def work() -> None:
        own = Segment.attach(path)
        assert own.claim(3)
        assert own.claim(3)
        assert own.claimed(3)
        claimed.send()
        signal.pause()

    with Segment.create(path, REGIONS) as segment, Child(work) as child:
        assert claimed.receive()
        assert segment.claimed(3)
        assert not segment.claim(3)
        assert segment.claim(4)
        assert [segment.claimed(number) for number in range(6)] == [0, 0, 0, 1, 1, 0]
        child.kill()
        assert not segment.claimed(3)
        assert segment.claim(3)
    with Segment.attach(path) as segment:
        assert not segment.claimed(3)


def test_a_forked_child_reopens(path: Path) -> None:
    with Segment.create(path, REGIONS) as segment:
        assert segment.claim(0)

        def work() -> None:
            calls: tuple[Callable[[], bool], ...] = (
                segment.remove,
                lambda: segment.claim(1),
                lambda: segment.claimed(0),
            )
            for call in calls:
                with pytest.raises(RuntimeError, match="reopened"):
                    call()
            with segment.reopened() as own:
                segment.close()
                assert own.uuid == segment.uuid
                assert own.claimed(0)
                assert not own.claim(0)
                assert own.claim(1)
                words_of(own).add(0)
                assert not own.remove()

        all_end_well([Child(work)])
        assert words_of(segment).value(0) == 1
        # Closing it in the child releases nothing of the parent.
        with Segment.attach(path) as other:
            assert not other.remove()
            assert other.claimed(0)


def test_closed_while_its_memory_is_in_use(path: Path) -> None:
    segment = Segment.create(path, REGIONS)
    words = words_of(segment)
    segment.close()
    segment.close()
    words.add(0, 3)
    with Segment.attach(path) as other:
        assert words_of(other).value(0) == 3
        # A process that can still write to the memory holds the segment.
        assert not other.remove()
        del words
        assert not hasattr(segment, "_words")
        del segment
        assert other.remove()


def test_an_unreferenced_segment_is_closed(path: Path) -> None:
    Segment.create(path, REGIONS)
    with Segment.attach(path) as other:
        assert other.remove()
