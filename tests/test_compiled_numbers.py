"""Sizes, offsets and positions that Python and compiled code share are defined once."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import latchkey
from fastcache.shared import _tallies
from latchkey.box import _counters
from latchkey.check import _entry
from latchkey.credentials import _proof

ROOT = Path(latchkey.__file__).parent.parent
MODULES = (_counters, _entry, _proof, _tallies)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_number_is_in_only_one_declaration(module: ModuleType) -> None:
    names = [name for name, value in vars(module).items() if name.isupper() and type(value) is int]
    assert names
    place = ROOT / module.__name__.replace(".", "/")
    declared = place.with_suffix(".pxd"), place.with_suffix(".pyx")
    others = [
        path
        for package in ("fastcache", "latchkey")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".pyx", ".pxd") and path not in declared
    ]
    own = "".join(path.read_text("utf-8") for path in declared if path.exists())
    for name in names:
        # Constants of Python were formerly called lengths, and may be private.
        again = rf"^\s*_?{name.replace('SIZE', '(SIZE|LENGTH)')} = \d"
        found = [path for path in others if re.search(again, path.read_text("utf-8"), re.MULTILINE)]
        assert found == []
        assert len(re.findall(rf"^    {name} = ", own, re.MULTILINE)) == 1
