#!/bin/sh
# Prints the constraints of `make test-lowest`: constraints-lowest.txt, and of constraints.txt the rest.

set -eu

awk -F == '
    /^#/ { next }
    { name = tolower($1); gsub(/[-_.]+/, "-", name) }
    FILENAME == "constraints-lowest.txt" { lowest[name]; print; next }
    !(name in lowest)
' constraints-lowest.txt constraints.txt
