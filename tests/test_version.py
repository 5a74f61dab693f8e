"""The version is defined only in pyproject.toml, and is the same wherever it is shown."""

from __future__ import annotations

import tomllib
from pathlib import Path

import latchkey
from tests.support.service import Service

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_every_place_shows_the_same_version(tmp_path: Path) -> None:
    assert latchkey.__version__ == VERSION
    with Service(tmp_path) as service:
        assert service.executed("--version").stdout == f"latchkey, version {VERSION}\n"
        assert service.get("/openapi.json").json["info"]["version"] == VERSION
        assert service.metric("latchkey_build_info", version=VERSION) == 1
