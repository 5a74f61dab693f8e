"""What the figures of the load benchmark depend on: samples, ratios, verdicts, and requests."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest

from benchmarks.bootstrap import Estimate
from benchmarks.load.credentials import api_key_of, forged_secret_of, secret_of
from benchmarks.load.equivalence import judge, quantile, ratio_of_means, ratio_of_quantiles
from benchmarks.load.paths import BARE, OPEN, OPEN_TOO, PROTECTED, TRIVIAL
from benchmarks.load.recording import Recorder, Recording, Seconds, read_all
from benchmarks.load.requesting import Credentials, OutOfCredentials, Requests
from latchkey.credentials.derivation import DerivationKey
from latchkey.credentials.tokens import read_secret

MAKER = DerivationKey(b"1" * 32)


def _arm(factor: float, seed: int, *, seconds: int = 60, count: int = 200) -> Seconds:
    """Latencies that drift from second to second, as on a shared machine, times a factor."""
    drift = random.Random(1)
    rng = random.Random(seed)
    levels = [drift.uniform(300, 900) for _ in range(seconds)]
    return {
        second: array("d", [factor * level * rng.uniform(0.9, 1.1) for _ in range(count)])
        for second, level in enumerate(levels)
    }


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.0, "proved"),
        (1.004, "proved"),
        (1.01, "not proved"),
        (1.02, "refuted"),
        (0.97, "refuted"),
    ],
)
def test_a_difference_is_judged_by_its_whole_interval(factor: float, verdict: str) -> None:
    alike = ratio_of_means(_arm(1, 2), _arm(1, 3))
    compared = ratio_of_means(_arm(factor, 4), _arm(1, 3))
    assert compared is not None
    assert compared.low <= factor <= compared.high
    assert compared.high - compared.low < 0.01, "what drifts is in both arms"
    assert judge(alike, compared) == verdict


def test_a_run_is_void_if_identical_arms_differ() -> None:
    compared = ratio_of_means(_arm(1, 2), _arm(1, 3))
    biased = ratio_of_means(_arm(0.99, 4), _arm(1, 3))
    assert judge(biased, compared) == "void"
    assert judge(None, compared) == "void"


def test_a_wide_interval_proves_nothing() -> None:
    alike = Estimate(value=1, low=0.9, high=1.1)
    assert judge(alike, Estimate(value=1, low=0.98, high=1.005)) == "not proved"
    assert judge(alike, Estimate(value=1.02, low=1.005, high=1.03)) == "not proved"
    assert judge(alike, None) == "not proved"


def test_the_tail_has_its_own_ratio() -> None:
    base = _arm(1, 2)
    slow = {
        second: array("d", [each * (1 if place % 20 else 3) for place, each in enumerate(found)])
        for second, found in base.items()
    }
    mean, tail = ratio_of_means(slow, base), ratio_of_quantiles(slow, base, 0.99)
    assert mean is not None
    assert mean.value == pytest.approx(1.1, abs=0.02)
    assert tail is not None
    assert tail.low > 1.5
    same = ratio_of_quantiles(base, base, 0.99)
    assert same == Estimate(value=1, low=1, high=1)


def test_without_a_common_second_there_is_no_ratio() -> None:
    one: Seconds = {1: array("d", [1.0])}
    other: Seconds = {2: array("d", [1.0])}
    assert ratio_of_means(one, other) is None
    assert ratio_of_quantiles(one, other, 0.5) is None


def test_a_quantile_is_one_of_the_samples() -> None:
    ordered = [float(each) for each in range(1, 101)]
    assert [quantile(ordered, share) for share in (0.5, 0.99, 0.999, 1)] == [50, 99, 100, 100]
    assert quantile([7.0], 0.5) == 7.0


def test_the_recordings_of_several_clients_are_merged(tmp_path: Path) -> None:
    for turn in range(2):
        recorder = Recorder()
        recorder.start()
        recorder.note("hit", 0.5, None)
        recorder.note("hit", 1.5, None)
        recorder.note("hit", 9.0, "hit: 500")
        recorder.recording.revocations += 1
        recorder.write(tmp_path)
        (path,) = tmp_path.glob("[0-9]*.json")
        path.rename(tmp_path / f"client-{turn}.json")
    whole, count = read_all(tmp_path)
    assert count == 2
    assert whole.requests == 6
    assert whole.errors == {"hit: 500": 2}
    assert whole.revocations == 2
    assert sorted(each for found in whole.latencies["hit"].values() for each in found) == [
        *(500, 500),
        *(1500, 1500),
    ]


def test_only_complete_seconds_after_the_warm_up_count() -> None:
    one: Seconds = {second: array("d", [1.0]) for second in range(10, 16)}
    other: Seconds = {12: array("d", [1.0])}
    noted = Recording({"hit": one, "miss": other}, {"hit: 500": 1})
    assert noted.without_edges(2).seconds == [12, 13, 14]
    kept = noted.without_edges(0)
    assert kept.seconds == [11, 12, 13, 14]
    assert kept.latencies["miss"].keys() == {12}
    assert kept.errors == noted.errors


def test_numbered_secrets_belong_to_their_keys() -> None:
    assert len({api_key_of(number) for number in range(1_000)}) == 1_000
    parts = read_secret(secret_of(7, MAKER))
    assert parts.api_key == api_key_of(7)
    assert parts.mac == MAKER.mac(api_key_of(7))
    forged = read_secret(forged_secret_of(7))
    assert forged.api_key == parts.api_key
    assert forged.mac != parts.mac


class Answers:
    """A service for the clients: the secrets that it accepts, and the requests that it received."""

    def __init__(self, *, forgets_revocations: bool = False) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.kinds: Counter[str] = Counter()
        self.revoked: set[str] = set()
        self._forgets = forgets_revocations

    def __call__(
        self, method: str, path: str, kind: str, headers: dict[str, str], expected: Collection[int]
    ) -> int:
        secret = headers["Authorization"].removeprefix("Bearer ")
        self.asked.append((method, path, secret))
        self.kinds[kind] += 1
        parts = read_secret(secret)
        if MAKER.mac(parts.api_key) != parts.mac or parts.api_key in self.revoked:
            return 401
        if method == "DELETE" and not self._forgets:
            self.revoked.add(path.rpartition("/")[2])
        return 200


def _requests(scenario: str, keys: int = 20, fresh: range = range(0)) -> tuple[Requests, Recorder]:
    recorder = Recorder()
    credentials = Credentials(keys, fresh, lambda each: secret_of(each, MAKER), forged_secret_of)
    return Requests(scenario, credentials, recorder, seed=1), recorder  # type: ignore[arg-type]


def test_each_request_uses_a_random_arm() -> None:
    assert len({len(path) for path in (OPEN, OPEN_TOO, PROTECTED, BARE)}) == 1
    for scenario, paths in {
        "twins": {OPEN, PROTECTED, BARE},
        "alike": {OPEN, OPEN_TOO},
        "trivial": {TRIVIAL},
    }.items():
        requests, _ = _requests(scenario)
        answers = Answers()
        for _ in range(3_000):
            requests.send(answers)
        counted = Counter(path for _, path, _ in answers.asked)
        assert counted.keys() == paths
        assert min(counted.values()) == pytest.approx(3_000 / len(paths), rel=0.1)
        order = [path for _, path, _ in answers.asked[:200]]
        assert len(paths) == 1 or order != sorted(paths) * (200 // len(paths))


def test_hits_follow_zipfs_law_and_misses_never_repeat() -> None:
    requests, _ = _requests("hits", keys=1_000)
    answers = Answers()
    for _ in range(20_000):
        requests.send(answers)
    commonest = [count for _, count in Counter(each[2] for each in answers.asked).most_common()]
    assert commonest[0] == pytest.approx(2 * commonest[1], rel=0.2)
    requests, _ = _requests("misses", keys=1, fresh=range(100, 150))
    answers = Answers()
    for _ in range(50):
        requests.send(answers)
    with pytest.raises(OutOfCredentials):
        requests.send(answers)
    assert len({secret for _, _, secret in answers.asked}) == len(answers.asked) == 50


def test_half_of_a_flood_is_forged() -> None:
    requests, _ = _requests("forged")
    answers = Answers()
    for _ in range(2_000):
        requests.send(answers)
    assert answers.kinds["forged"] == pytest.approx(1_000, rel=0.1)


@pytest.mark.parametrize("forgets", [False, True])
def test_a_200_after_a_revocation_is_counted(
    forgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.load.requesting.REVOCATION_PAUSE", 0.0005)
    requests, recorder = _requests("revocations", fresh=range(100, 5_200))
    answers = Answers(forgets_revocations=forgets)
    for _ in range(5_000):
        requests.send(answers)
    assert recorder.recording.revocations > 10
    assert (recorder.recording.violations > 0) is forgets
    assert not recorder.recording.errors
    assert answers.kinds["revoked"] > 100
