"""The hardening of the compiled modules: read from the binaries, and chosen by setup.py."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "fastcache", ROOT / "latchkey"]
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.so"))

_DYNAMIC, _RELRO = 2, 0x6474E552
_FLAGS, _FLAGS_1, _BIND_NOW = 30, 0x6FFFFFFB, 24

# The stamp of the Makefile's last build.
MODE = next((path.name[7:] for path in ROOT.glob(".venv/.built-*")), "release")
released = pytest.mark.skipif(MODE != "release", reason=f"a build for {MODE} is not hardened")


@dataclass
class Elf:
    """The information for the loader in a 64-bit module."""

    segments: set[int]
    binds_at_once: bool
    names: bytes


def read(path: Path) -> Elf:
    data = path.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        pytest.skip(f"{path.name} is no 64-bit ELF file")
    order = "<" if data[5] == 1 else ">"
    (headers,) = struct.unpack_from(f"{order}Q", data, 32)
    size, count = struct.unpack_from(f"{order}HH", data, 54)
    segments = set()
    at_once = False
    for number in range(count):
        at = headers + number * size
        kind, _, offset, _, _, length = struct.unpack_from(f"{order}IIQQQQ", data, at)
        segments.add(kind)
        if kind == _DYNAMIC:
            for entry in range(offset, offset + length, 16):
                tag, value = struct.unpack_from(f"{order}QQ", data, entry)
                at_once |= (
                    tag == _BIND_NOW
                    or (tag == _FLAGS and value & 8)
                    or (tag == _FLAGS_1 and value & 1)
                ) != 0
    return Elf(segments, at_once, data)


@released
@pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: f"{path.parent.name}.{path.name.partition('.')[0]}"
)
def test_each_module_is_relocated_and_then_read_only(path: Path) -> None:
    module = read(path)
    assert module.binds_at_once
    assert _RELRO in module.segments


def test_every_compiled_module_is_checked() -> None:
    sources = {path.with_suffix("") for package in PACKAGES for path in package.rglob("*.pyx")}
    assert {path.with_name(path.name.partition(".")[0]) for path in MODULES} == sources


@released
def test_stacks_are_protected() -> None:
    """Only modules with an array on the stack are protected, such as these."""
    for name in ("_cache", "_digest", "_tallies"):
        (path,) = ROOT.glob(f"fastcache/shared/{name}.*.so")
        assert b"\0__stack_chk_fail\0" in read(path).names


CHOOSE = """
import json, runpy, sys
sys.argv = ["setup.py", "--quiet", "--version"]
names = runpy.run_path("setup.py")
tasks = json.load(sys.stdin)
print(json.dumps([names["hardening"](task, task + ["-shared"]) for task in tasks]))
"""


def test_only_supported_compiler_options_are_used(tmp_path: Path) -> None:
    """Not all compilers support them, and some have their own defaults."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no compiler")
    picky = tmp_path / "picky"
    picky.write_text(
        f'#!/bin/sh\nfor option; do case "$option" in\n'
        f'-fstack*|*-z,now) echo "unknown option" >&2; exit 1;; esac; done\nexec {compiler} "$@"\n'
    )
    picky.chmod(0o755)
    tasks = [
        [compiler, "-U_FORTIFY_SOURCE"],
        [compiler, "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"],
        [str(picky), "-U_FORTIFY_SOURCE"],
        ["/bin/false"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE],
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "FASTCACHE_BUILD": MODE},
        timeout=100,
    )
    plain, leveled, picked, none = json.loads(done.stdout.splitlines()[-1])
    assert plain == [
        ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"],
        ["-Wl,-z,relro", "-Wl,-z,now"],
    ]
    assert leveled == [["-fstack-protector-strong"], ["-Wl,-z,relro", "-Wl,-z,now"]]
    assert picked == [["-D_FORTIFY_SOURCE=2"], ["-Wl,-z,relro"]]
    assert none == [[], []]
