"""The protocol of several boxes without one of its steps, and the scenario that then fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from latchkey.box.leases import Applied
from latchkey.box.poller import Poller
from latchkey.box.registration import Registration
from latchkey.box.shared import Word
from latchkey.credentials.models import Invalidation
from latchkey.credentials.publishing import Publication
from latchkey.store.protocols.boxes import Box as Listed
from latchkey.store.protocols.boxes import Confirmation
from tests.support.box.scenarios import (
    came_back,
    committed_out_of_order,
    cut_off,
    cut_off_from_a_short_lease,
    cut_off_with_a_longer_lease,
    declared_dead,
    far_behind,
    made_by_a_killed_process,
    made_while_a_box_starts,
    rewound_and_continued,
    rewound_and_registered_anew,
    rewound_while_polling,
    rewound_while_registering,
    slow_to_confirm,
    slow_to_register,
    stopped_after_confirming,
    stopping,
    suspended,
)
from tests.support.box.world import MILLISECOND, Protocol, Scenario, Settling, Store


class NoComparison(Poller):
    """Reads on after the number of the last row."""

    def _continues(self, rows: Sequence[Invalidation], applied: Applied) -> bool:
        return True


class NoNonce(Poller):
    """Recognises the last row by its number only."""

    def _continues(self, rows: Sequence[Invalidation], applied: Applied) -> bool:
        return not applied.number or (bool(rows) and rows[0].number == applied.number)


class ConfirmsFirst(Poller):
    """Confirms rows before it applies them."""

    def _apply(self, rows: Sequence[Invalidation]) -> None:
        self.later = rows

    def _renew(self, sent: int) -> None:
        super()._apply(self.later)
        super()._renew(sent)


class RenewsFirst(Poller):
    """Renews the lease before the confirmation is committed."""

    def _apply(self, rows: Sequence[Invalidation]) -> None:
        super()._apply(rows)
        self._renew(self._clock())


class IgnoresRefusals(Poller):
    """Renews the lease although the box was declared dead."""

    def _confirm(self, box_id: int, last: Applied) -> Confirmation:
        super()._confirm(box_id, last)
        return Confirmation.MADE


class RenewsFromNow(Poller):
    """Extends the lease from the time of its end."""

    def _renew(self, sent: int) -> None:
        super()._renew(self._clock())


class UsesAllOfTheLease(Poller):
    """Has no margin for clocks of other rates."""

    def _renew(self, sent: int) -> None:
        self._words.raise_to(Word.FRESH_UNTIL, sent + self._usable * 5 // 4)


class RenewsAnyway(Poller):
    """Renews the lease in the middle of a long log."""

    def _reaches_end(self, rows: Sequence[Invalidation]) -> bool:
        self._renew(self.sent)
        return super()._reaches_end(rows)

    def _continues(self, rows: Sequence[Invalidation], applied: Applied) -> bool:
        self.sent = self._clock()
        return super()._continues(rows, applied)


class ConfirmsUnderAnyId(Poller):
    """Confirms under the id that the box has by then."""

    def _confirm(self, box_id: int, last: Applied) -> Confirmation:
        return super()._confirm(self._words.value(Word.BOX), last)

    def _is_registered_as(self, box_id: int) -> bool:
        return True


class ConfirmsAnyRow(Store):
    """Confirms a number, whether or not the log still has that row."""

    def confirm(self, box_id: str, number: int, nonce: int, lease_ms: int) -> Confirmation:
        known = {row.number: row.nonce for row in self._database.committed.invalidations}
        if number in known:
            return super().confirm(box_id, number, known[number], lease_ms)
        confirmation = super().confirm(box_id, 0, 0, lease_ms)
        if confirmation is Confirmation.MADE:
            self._force(box_id, number)
        return confirmation

    def _force(self, box_id: str, number: int) -> None:
        def transaction(state: object) -> None:
            box, seen_at = state.boxes[box_id]  # type: ignore[attr-defined]
            confirmed = replace(box, confirmed=max(number, box.confirmed))
            state.boxes[box_id] = (confirmed, seen_at)  # type: ignore[attr-defined]

        self._database.change(transaction)


class ConfirmsAnyLease(Store):
    """Confirms a longer lease than the registered one."""

    def confirm(self, box_id: str, number: int, nonce: int, lease_ms: int) -> Confirmation:
        return super().confirm(box_id, number, nonce, 0)


class ConfirmsDeadBoxes(Store):
    """Confirms although the box was declared dead."""

    def confirm(self, box_id: str, number: int, nonce: int, lease_ms: int) -> Confirmation:
        confirmation = super().confirm(box_id, number, nonce, lease_ms)
        is_dead = confirmation is Confirmation.CUT_OFF
        return Confirmation.MADE if is_dead else confirmation


class KeepsCached(Registration):
    """Keeps what was cached under the former id."""

    def _forget_cached(self) -> None:
        pass


class ForgetsTooEarly(Registration):
    """Forgets what was cached before it reads the end of the log."""

    def steps(self, former: int) -> Generator[None, None, bool]:
        super()._forget_cached()
        yield
        return (yield from super().steps(former))

    def _forget_cached(self) -> None:
        pass


class ConfirmsWhenRegistering(Registration):
    """Confirms the end of the log before it forgets what was cached."""

    def _confirmed_by(self, row: Invalidation | None) -> int:
        return 0 if row is None else row.number


class WaitsForNobody(Settling):
    """Answers without waiting."""

    def _live(self) -> list[Listed]:
        return []


class ListsTooEarly(Settling):
    """Waits for the boxes that were live before the commit."""

    listed: list[Listed] | None = None

    def before_commit(self) -> None:
        self.listed = super()._live()

    def _live(self) -> list[Listed]:
        return super()._live() if self.listed is None else self.listed


class WaitsForTheShortest(Settling):
    """Waits only for its own lease."""

    def _longest(self, leases_ms: Sequence[int]) -> int:
        return min(leases_ms, default=0) * MILLISECOND


class AnswersWhatIsMade(Settling):
    """Answers at once if the change was already made."""

    def steps(self, publication: Publication, *, found_made: bool = False) -> Iterator[float]:
        return iter(()) if found_made else super().steps(publication)


@dataclass(frozen=True)
class Omission:
    """A protocol without one step, and what the boxes do for the omission to show."""

    protocol: Protocol
    scenario: Scenario


OMISSIONS = {
    "compare the last row": Omission(Protocol(poller=NoComparison), rewound_and_continued),
    "compare the nonce": Omission(Protocol(poller=NoNonce), rewound_and_continued),
    "confirm only rows that the log still has": Omission(
        Protocol(store=ConfirmsAnyRow), rewound_while_polling
    ),
    "confirm only the registered lease": Omission(
        Protocol(store=ConfirmsAnyLease), cut_off_with_a_longer_lease
    ),
    "confirm only if the box is live": Omission(Protocol(store=ConfirmsDeadBoxes), declared_dead),
    "confirm under the id that was read before": Omission(
        Protocol(poller=ConfirmsUnderAnyId, store=ConfirmsAnyRow), rewound_and_registered_anew
    ),
    "apply before confirming": Omission(Protocol(poller=ConfirmsFirst), stopped_after_confirming),
    "confirm before renewing": Omission(Protocol(poller=RenewsFirst), declared_dead),
    "renew only if the box is live": Omission(Protocol(poller=IgnoresRefusals), declared_dead),
    "renew from the time of sending": Omission(Protocol(poller=RenewsFromNow), slow_to_confirm),
    "use only part of the lease": Omission(Protocol(poller=UsesAllOfTheLease), cut_off),
    "renew only at the end of the log": Omission(Protocol(poller=RenewsAnyway), far_behind),
    "compare the lease at each hit": Omission(Protocol(needs_lease=False), cut_off),
    "count the time of suspension": Omission(Protocol(counts_suspension=False), suspended),
    "forget everything when registering": Omission(Protocol(registration=KeepsCached), came_back),
    "forget after reading the end of the log": Omission(
        Protocol(registration=ForgetsTooEarly), slow_to_register
    ),
    "confirm nothing when registering": Omission(
        Protocol(registration=ConfirmsWhenRegistering), rewound_while_registering
    ),
    "stop serving before saying so": Omission(Protocol(stops_last=False), stopping),
    "wait for the boxes": Omission(Protocol(settling=WaitsForNobody), cut_off),
    "list the boxes after the commit": Omission(
        Protocol(settling=ListsTooEarly), made_while_a_box_starts
    ),
    "wait for the longest lease": Omission(
        Protocol(settling=WaitsForTheShortest), cut_off_from_a_short_lease
    ),
    "wait for what is already made": Omission(
        Protocol(settling=AnswersWhatIsMade), made_by_a_killed_process
    ),
    "number changes in the order of commits": Omission(
        Protocol(takes_turns=False), committed_out_of_order
    ),
}
