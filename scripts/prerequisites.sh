#!/bin/sh
# Lists the system packages that Latchkey needs and this machine lacks: one line each, with the name
# of the Debian package. The exit status is 1 if a package is missing.
#
# usage: prerequisites.sh [PYTHON]

python=${1:-python3}
packages=

missing() {
    echo "missing: $1 (Debian package: $2)" >&2
    packages="$packages $2"
}

ask() {
    "$python" -c "$1" 2>/dev/null
}

# If the interpreter is missing or broken, the checks below report the other packages as missing too.
if ! ask 'pass'; then
    missing "Python 3.11 or later, as '$python'" python3
elif ! ask 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    version=$(ask 'import platform; print(platform.python_version())')
    missing "Python 3.11 or later; '$python' is $version" python3
fi

ask 'import venv; from ensurepip import version; version()' || missing "Python's venv and ensurepip modules" python3-venv

ask 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    missing "Python's C headers (Python.h)" python3-dev

# Extensions are built with the compiler that built Python itself, unless CC is set.
compiler=${CC:-$(ask 'import sysconfig; print((sysconfig.get_config_var("CC") or "cc").split()[0])')}
compiler=${compiler:-cc}
# shellcheck disable=SC2086  # CC may contain options after the command
if ! command -v ${compiler%% *} >/dev/null 2>&1; then
    missing "a C compiler ('${compiler%% *}')" gcc
elif ! echo '#include <stdlib.h>' | $compiler -fsyntax-only -x c - 2>/dev/null; then
    missing "the C library's headers (stdlib.h)" libc6-dev
fi

[ -z "$packages" ] && exit 0
echo "on Debian and Ubuntu, run: apt-get install$packages" >&2
exit 1
