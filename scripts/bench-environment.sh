#!/bin/sh
# Makes an environment to measure in: this checkout's release wheel, and what it is compared with.
# A package of the extra `bench` that cannot be installed is named, and the others are.
#
# usage: bench-environment.sh PYTHON DIRECTORY [peers]
#
# With `peers`, only the caches themselves: enough for an interpreter that another one drives.
#
# The benchmarks are read from the checkout; all else is what is installed. DIRECTORY/bin/latchkey-bench
# sees to that.

set -eu

python=$1
directory=$2
which=${3:-everything}
stamp=$directory/.whole
export PIP_DISABLE_PIP_VERSION_CHECK=1

pip() {
    "$directory/bin/python" -m pip --quiet "$@"
}

# The pins are for what is installed, not for what a package from source is built with.
install() {
    pip install --constraint constraints.txt "$@"
}

# What pyproject.toml lists for building, or under an extra.
listed() {
    "$directory/bin/python" -c 'import sys, tomllib
table = tomllib.load(open("pyproject.toml", "rb"))
extras = table["project"]["optional-dependencies"]
print(*({"build": table["build-system"]["requires"]} | extras)[sys.argv[1]], sep="\n")' "$1"
}

if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
    echo "Making $directory ..."
    "$python" -m venv --clear "$directory"
    listed build | install --requirement /dev/stdin
fi

echo "Building the wheel ($directory) ..."
rm -rf build/lib* build/bdist* "$directory/wheel"
FASTCACHE_BUILD=release pip wheel --no-deps --no-build-isolation --wheel-dir "$directory/wheel" .
set -- "$directory"/wheel/latchkey_auth-*.whl
install --no-deps --force-reinstall "$1"

if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
    echo "Installing what it is compared with ..."
    if [ "$which" = peers ] || ! install "$1[service,bench]"; then
        for package in cachetools $(listed service) $(listed bench); do
            case $which:$package in
                peers:cachebox* | peers:cachetools | peers:lru-dict* | peers:moka-py* | peers:theine*) ;;
                peers:*) continue ;;
            esac
            install "$package" || echo "cannot be installed: $package" >&2
        done
    fi
    touch "$stamp"
fi

if [ "$which" = everything ]; then
    mkdir -p "$directory/path"
    ln -sfn "$(pwd)/benchmarks" "$directory/path/benchmarks"
    printf '#!/bin/sh\nPYTHONPATH="%s" PYTHONSAFEPATH=1 exec "%s" -m benchmarks "$@"\n' \
        "$(pwd)/$directory/path" "$(pwd)/$directory/bin/python" >"$directory/bin/latchkey-bench"
    chmod +x "$directory/bin/latchkey-bench"
fi
