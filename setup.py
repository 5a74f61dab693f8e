"""The compiled modules and their build modes; everything else is in pyproject.toml.

FASTCACHE_BUILD names the mode:

release    optimised and hardened, assertions left out (the default)
debug      not optimised, debugging symbols, Cython's assertions and bounds checks
coverage   line tracing, for the Cython.Coverage plugin
sanitize   AddressSanitizer and UndefinedBehaviorSanitizer, assertions on
threads    ThreadSanitizer, for an interpreter that was built with it, without the GIL

Each mode has its own directory for C files and objects under build/.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODULES = (
    "_garbage",
    "_settings",
    "_sizes",
    "_slots",
    "_heap",
    "_table",
    "_shard",
    "_collector",
    "_snapshot",
    "_cursor",
    "_hooks",
    "_store",
    "_distances",
    "_views",
    "_cache",
    "_ttl",
    "_flights",
    "_cached",
    "shared._words",
    "shared._digest",
    "shared._tallies",
    "shared._table",
    "shared._cache",
    "shared._windows",
    "shared._rates",
    "shared._quotas",
    "shared._bloom",
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
    "_sizes.h",
)
LATCHKEY_MODULES = (
    "credentials._proof",
    "check._headers",
    "check._taking",
    "check._limits",
    "check._entry",
    "check._recent",
    "flask._requirements",
    "box._counters",
    "box._latencies",
    "box._sightings",
    "check._check",
    "check._gate",
    "check._latency",
    "check._proxied",
)


@dataclass(frozen=True)
class Mode:
    """The options for the C compiler and Cython in one build mode."""

    compile_args: list[str]
    link_args: list[str] = field(default_factory=list)
    macros: list[tuple[str, str | None]] = field(default_factory=list)
    directives: dict[str, bool] = field(default_factory=dict)
    hardened: bool = False


SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]

MODES = {
    "release": Mode(
        compile_args=["-O3", "-g1", "-fno-plt"],
        macros=[("CYTHON_WITHOUT_ASSERTIONS", "1")],
        hardened=True,
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
    """The mode that FASTCACHE_BUILD names. An unknown name stops the build."""
    name = os.environ.get("FASTCACHE_BUILD", "release")
    if name not in MODES:
        sys.exit(f"FASTCACHE_BUILD={name}: unknown build mode; choose one of {', '.join(MODES)}")
    return name


def extensions(mode: Mode) -> list[Extension]:
    """The extension modules of fastcache and latchkey, compiled with the options of `mode`."""
    modules = [f"fastcache.{module}" for module in MODULES]
    # Some builds contain only fastcache.
    if os.path.isdir("latchkey"):
        modules += [f"latchkey.{module}" for module in LATCHKEY_MODULES]
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


def hardening(compiler: list[str], linker: list[str]) -> tuple[list[str], list[str]]:
    """The hardening options that this compiler and linker support.

    A level of _FORTIFY_SOURCE from the distribution or CFLAGS is not changed.
    """
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "probe.c")
        made = os.path.join(directory, "probe.o")
        with open(source, "w") as file:
            file.write("#include <string.h>\nint probe(void) { return 0; }\n")

        def runs(*command: str) -> bool:
            done = subprocess.run(  # noqa: S603 - the compiler of the build
                command, capture_output=True, check=False
            )
            return done.returncode == 0

        def compiles(*options: str) -> bool:
            return runs(*compiler, "-O2", *options, "-Werror", "-c", source, "-o", made)

        compile_args = []
        fortify = "-D_FORTIFY_SOURCE=2"
        if compiles("-fstack-protector-strong"):
            compile_args.append("-fstack-protector-strong")
        with open(source, "a") as file:
            file.write("#ifndef _FORTIFY_SOURCE\n#error\n#endif\n")
        if not compiles() and compiles(fortify):
            compile_args.append(fortify)
        with open(source, "w") as file:
            file.write("int probe(void) { return 0; }\n")
        link_args = []
        if compiles():
            for option in ("-Wl,-z,relro", "-Wl,-z,now"):
                if runs(*linker, made, option, "-o", os.path.join(directory, "probe.so")):
                    link_args.append(option)
    return compile_args, link_args


class BuildExt(build_ext):
    """build_ext with a separate directory for the objects of each mode."""

    def finalize_options(self) -> None:
        """Use a directory named after the mode."""
        super().finalize_options()
        self.build_temp = os.path.join(self.build_temp, MODE)

    def build_extensions(self) -> None:
        """Add the hardening options that the compiler supports."""
        if MODES[MODE].hardened and self.compiler.compiler_type == "unix":
            compile_args, link_args = hardening(self.compiler.compiler_so, self.compiler.linker_so)
            for extension in self.extensions:
                extension.extra_compile_args += compile_args
                extension.extra_link_args += link_args
        super().build_extensions()


MODE = chosen_mode()

setup(
    ext_modules=cythonize(
        extensions(MODES[MODE]),
        build_dir=os.path.join("build", "cython", MODE),
        compiler_directives=DIRECTIVES | MODES[MODE].directives,
    ),
    cmdclass={"build_ext": BuildExt},
)
