"""Sizes, offsets and places that Python and compiled code share: each is defined once."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import latchkey
from latchkey.box import _counts
from latchkey.check import _entry
from latchkey.credentials import _proof

ROOT = Path(latchkey.__file__).parent


@pytest.mark.parametrize("module", [_counts, _entry, _proof], ids=lambda module: module.__name__)
def test_a_number_is_written_in_one_declaration(module: ModuleType) -> None:
    names = [name for name, value in vars(module).items() if name.isupper() and type(value) is int]
    assert names
    declared = ROOT.parent / (module.__name__.replace(".", "/") + ".pxd")
    others = [
        path
        for path in ROOT.rglob("*")
        if path.suffix in (".py", ".pyx", ".pxd") and path != declared
    ]
    for name in names:
        # Constants of Python were also called lengths, and may be private.
        again = re.compile(rf"^\s*_?{name.replace('SIZE', '(SIZE|LENGTH)')} = \d", re.MULTILINE)
        assert [path.name for path in others if again.search(path.read_text("utf-8"))] == []
        assert re.search(rf"^    {name} = ", declared.read_text("utf-8"), re.MULTILINE)
