"""Several boxes on one PostgreSQL, and what a test of them found."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.support.boxes.box import Box
from tests.support.boxes.changing import Changers, Office, changing
from tests.support.boxes.histories import GOOD
from tests.support.boxes.traffic import Traffic, traffic_to
from tests.support.faults.service_processes import wait_until
from tests.support.postgresql import USER
from tests.support.service import Pair

_RESULTS = Path(__file__).parents[3] / "build" / "boxes"


@dataclass
class Found:
    """What a fault did; the figures of a note."""

    fault: str
    changes: int = 0
    requests: int = 0
    late: int = 0
    refused_wrongly: int = 0
    longest_change_seconds: float = 0.0
    """From the beginning of a call to its answer, also if the answer was an error."""
    failed_changes: str = ""
    """The other calls by status, each of which was repeated; 0: no answer, -1: not sent."""
    failed_requests: str = ""
    """The requests that decided nothing, by status as above."""
    recovered_seconds: float = 0.0
    """The longest recovery: from the end of a fault until each worker admits a valid key, and each
    box changes one."""


@dataclass
class Cluster:
    """Running boxes that share a database, and the keys that a test needs."""

    boxes: Sequence[Box]
    database: str
    issuer: Pair
    beacon: Pair

    @contextmanager
    def changed(self, fault: str, threads: int = 3, timeout: float = 60.0) -> Iterator[Trial]:
        """Load and changes during the block; then no answer was wrong, and all boxes work.

        ``timeout`` in seconds is that of a request.
        """
        with traffic_to(self.boxes, self.beacon, timeout) as traffic:
            office = Office(self.issuer, self.boxes, traffic)
            with changing(office, threads) as changers:
                trial = Trial(Found(fault), office, changers, traffic)
                yield trial
        trial.judge()


@dataclass
class Trial:
    """One test: its load, its changes, and what it found."""

    found: Found
    office: Office
    changers: Changers
    traffic: Traffic

    def change(self, count: int) -> None:
        """Wait for this many more changes."""
        self.changers.await_more(count, timeout=60 + 5 * count)

    def await_recovery(self) -> None:
        """After the end of a fault, wait until all boxes work, while load and changes continue.

        That is when each worker admits a valid key, and each box changes one.
        """
        healed = time.monotonic()
        self.traffic.await_answers(self.traffic.beacon, GOOD, healthy=True)
        for box in self.office.boxes:
            # A worker may be in the pause before it connects again.
            wait_until(partial(self._is_changed_by, box), "a change")
        recovered = round(time.monotonic() - healed, 3)
        self.found.recovered_seconds = max(recovered, self.found.recovered_seconds)

    def _is_changed_by(self, box: Box) -> bool:
        """Change a key at a box; False if the box fails, which is the only other right answer."""
        made = box.request(
            "PATCH",
            f"/v1/api_keys/{self.traffic.beacon.api_key}",
            self.office.issuer.bearer,
            json_body={"name": "recovered"},
        )
        assert made.status in {200, 500, 503}, made
        return made.status == 200

    def judge(self) -> None:
        """Write the figures, and fail for a late 200 or a wrong refusal."""
        histories, found = self.traffic.histories, self.found
        late, refused = histories.late(), histories.refused_wrongly()
        found.changes = self.office.made
        found.requests = histories.count()
        found.late, found.refused_wrongly = len(late), len(refused)
        found.longest_change_seconds = round(self.office.longest, 3)
        found.failed_changes = _counts(self.office.refused)
        found.failed_requests = _counts(histories.undecided())
        _RESULTS.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in found.fault)
        (_RESULTS / f"{name}.json").write_text(json.dumps(asdict(found), indent=1) + "\n")
        assert not late, late[:5]
        assert not refused, refused[:5]


@contextmanager
def running(
    directory: Path, url: str, upstream: tuple[str, int], count: int, **settings: str
) -> Iterator[Cluster]:
    """Boxes on the database that a URL names, which they reach at ``upstream`` through a proxy."""
    name = url.rpartition("/")[2]
    with ExitStack() as stack:
        boxes: list[Box] = []
        for number in range(1, count + 1):
            place = directory / f"box{number}"
            place.mkdir()
            box = Box(place, upstream, settings={"LATCHKEY_FAILURE_LIMIT": "off", **settings})
            stack.callback(box.close)
            host, port = box.place.database
            box.settings["LATCHKEY_DATABASE_URL"] = (
                f"postgresql+psycopg://{USER}@{host}:{port}/{name}"
            )
            box.settings["LATCHKEY_BOX_NAME"] = place.name
            if boxes:
                # All boxes derive, prove and seal with the same keys.
                shutil.copytree(boxes[0].directory / "secrets", place / "secrets")
            else:
                box.initialize()
            box.start()
            boxes.append(box)
        issuer = boxes[0].create_key("live", "--scope", "*", "--scope", "accounts:write")
        yield Cluster(boxes, name, issuer, boxes[0].issue())


def _counts(counted: dict[int, int]) -> str:
    return ", ".join(f"{number} × {status}" for status, number in sorted(counted.items()))
