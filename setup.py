"""The compiled modules and their build modes; everything else is in pyproject.toml.

FASTCACHE_BUILD names the mode:

release    optimised, assertions left out (the default)
debug      not optimised, debugging symbols, Cython's assertions and bounds checks
coverage   line tracing, for the Cython.Coverage plugin
sanitize   AddressSanitizer and UndefinedBehaviorSanitizer, assertions on
threads    ThreadSanitizer, for an interpreter that was built with it, without the GIL

Each mode keeps its C files and objects in a directory of its own under build/.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODULES = (
    "_garbage",
    "_settings",
    "_slots",
    "_heap",
    "_table",
    "_shard",
    "_collector",
    "_snapshot",
    "_cursor",
    "_store",
    "_cache",
    "_ttl",
    "_flights",
    "_cached",
    "_shared",
    "_digest",
    "_tallies",
    "_shared_table",
    "_shared_cache",
    "_windows",
    "_bloom",
)
HEADERS = (
    "_atomics.h",
    "_blake2b.h",
    "_clock.h",
    "_digest.h",
    "_fixed_hash.h",
    "_gil.h",
    "_huge_pages.h",
    "_keys.h",
    "_lock.h",
    "_parts.h",
    "_robust_lock.h",
    "_seqlock.h",
    "_sha256_x86.h",
)
APP_MODULES = (
    "credentials._proof",
    "auth._headers",
    "auth._entry",
    "auth._recent",
    "auth._requirements",
    "auth._latency",
    "auth._sightings",
    "auth._hit",
)


@dataclass(frozen=True)
class Mode:
    """How the C compiler and Cython are called in one build mode."""

    compile_args: list[str]
    link_args: list[str] = field(default_factory=list)
    macros: list[tuple[str, str | None]] = field(default_factory=list)
    directives: dict[str, bool] = field(default_factory=dict)


SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]

MODES = {
    "release": Mode(
        compile_args=["-O3", "-g1", "-fno-plt"],
        macros=[("CYTHON_WITHOUT_ASSERTIONS", "1")],
    ),
    "debug": Mode(
        compile_args=["-O0", "-g", "-UNDEBUG"],
        directives={"boundscheck": True, "wraparound": True, "initializedcheck": True},
    ),
    "coverage": Mode(
        compile_args=["-O0", "-g", "-UNDEBUG"],
        macros=[("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")],
        directives={"linetrace": True},
    ),
    "sanitize": Mode(
        compile_args=["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", *SANITIZERS],
        link_args=SANITIZERS,
    ),
    "threads": Mode(
        compile_args=["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", "-fsanitize=thread"],
        link_args=["-fsanitize=thread"],
    ),
}

DIRECTIVES: dict[str, bool | int] = {
    "language_level": 3,
    "binding": False,
    "freethreading_compatible": True,
}


def chosen_mode() -> str:
    """The mode that FASTCACHE_BUILD names; an unknown one stops the build."""
    name = os.environ.get("FASTCACHE_BUILD", "release")
    if name not in MODES:
        sys.exit(f"FASTCACHE_BUILD={name}: unknown build mode; choose one of {', '.join(MODES)}")
    return name


def extensions(mode: Mode) -> list[Extension]:
    """The extension modules, compiled as `mode` says: fastcache's, and those of the check."""
    modules = [f"fastcache.{module}" for module in MODULES]
    # The cache is also built by itself, where the rest of what the service needs is not there.
    if os.path.isdir("app"):
        modules += [f"app.{module}" for module in APP_MODULES]
    return [
        Extension(
            module,
            [f"{module.replace('.', '/')}.pyx"],
            include_dirs=["fastcache"],
            depends=[f"fastcache/{header}" for header in HEADERS],
            define_macros=mode.macros,
            extra_compile_args=["-std=c11", "-Wall", "-Wextra", *mode.compile_args],
            extra_link_args=mode.link_args,
        )
        for module in modules
    ]


class BuildExt(build_ext):
    """build_ext with the objects of each mode apart, so that none is taken for another's."""

    def finalize_options(self) -> None:
        """Put the objects beside the mode's C files."""
        super().finalize_options()
        self.build_temp = os.path.join(self.build_temp, MODE)


MODE = chosen_mode()

setup(
    ext_modules=cythonize(
        extensions(MODES[MODE]),
        build_dir=os.path.join("build", "cython", MODE),
        compiler_directives=DIRECTIVES | MODES[MODE].directives,
    ),
    cmdclass={"build_ext": BuildExt},
)
