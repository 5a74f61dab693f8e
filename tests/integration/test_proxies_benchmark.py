"""The benchmark behind nginx in its quick form."""

from __future__ import annotations

import pytest

from benchmarks.suite import verify_part
from benchmarks.verify.plan import GUNICORN, NGINX, VerifySettings
from tests.support.proxies.programs import NGINX as PROGRAM


def test_the_part_measures() -> None:
    if PROGRAM.path is None:
        pytest.skip("needs nginx")
    settings = VerifySettings(starts=1, rounds=2, requests=40, users=4, keys=4)
    results = verify_part(settings).measure(True, lambda done, total, step: None)
    figures = results.model_dump(mode="json")
    assert figures["subjects"].keys() == {*GUNICORN, *NGINX}
    for subject in figures["subjects"].values():
        assert all(subject[name]["value"] > 0 for name in ("rate", "p50", "p99"))
    for table in verify_part().tables(figures).values():
        assert all(all(row) for row in table.rows)
