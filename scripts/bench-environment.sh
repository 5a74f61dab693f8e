#!/bin/sh
# Creates an environment for benchmarks: the release wheel of this checkout, and the packages that it
# is compared with. If a package of the extra `bench` cannot be installed, its name is printed and
# the other packages are installed.
#
# usage: bench-environment.sh PYTHON DIRECTORY [peers]
#
# With `peers`, only the caches are installed: another interpreter then runs the benchmark.
#
# DIRECTORY/bin/latchkey-bench runs the benchmarks of the checkout against the installed packages.

set -eu

python=$1
directory=$2
which=${3:-everything}
stamp=$directory/.whole
export PIP_DISABLE_PIP_VERSION_CHECK=1

pip() {
    "$directory/bin/python" -m pip --quiet "$@"
}

# The constraints apply to the installed packages, not to the build requirements of source packages.
install() {
    pip install --constraint constraints.txt "$@"
}

# The requirements that pyproject.toml lists for the build, or for an extra.
listed() {
    "$directory/bin/python" -c 'import sys, tomllib
table = tomllib.load(open("pyproject.toml", "rb"))
extras = table["project"]["optional-dependencies"]
print(*({"build": table["build-system"]["requires"]} | extras)[sys.argv[1]], sep="\n")' "$1"
}

if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
    echo "Creating $directory ..."
    "$python" -m venv --clear "$directory"
    listed build | install --requirement /dev/stdin
fi

echo "Building the wheel ($directory) ..."
rm -rf build/lib* build/bdist* "$directory/wheel"
FASTCACHE_BUILD=release pip wheel --no-deps --no-build-isolation --wheel-dir "$directory/wheel" .
set -- "$directory"/wheel/latchkey_auth-*.whl
install --no-deps --force-reinstall "$1"

if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
    echo "Installing the packages to compare with ..."
    if [ "$which" = peers ] || ! install "$1[service,bench,postgresql]"; then
        for package in cachetools $(listed service) $(listed bench) $(listed postgresql); do
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
