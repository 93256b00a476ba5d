#!/bin/sh
# Installs every distribution of this repository, editable, into .venv, with the versions that the lock pins.
# Usage: scripts/install.sh PACKAGE_FOLDER...
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

apt_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        say "Mezzo needs $1. Install it ('apt-get install $2' on Debian, as root), then try again."
        exit 1
    fi
    say "Installing $2"
    apt-get update -qq
    # shellcheck disable=SC2086  # several packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $2 > /dev/null
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; }

python=${MEZZO_PYTHON:-python3}
is_recent "$python" || apt_install "Python 3.11 or newer" "python3 python3-venv ca-certificates"
"$python" -c 'import ensurepip, venv' 2> /dev/null || apt_install "Python's venv module" "python3-venv ca-certificates"

if [ ! -x .venv/bin/python ] || ! is_recent .venv/bin/python; then
    "$python" -m venv --clear .venv
fi
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt

sh scripts/uv.sh pip install -q --python .venv/bin/python --require-hashes -r requirements-dev.txt
editable=""
for folder in "$@"; do editable="$editable -e $folder"; done
# The build backend stands in the lock as well, so nothing is fetched that is not pinned.
# shellcheck disable=SC2086
PATH="$PWD/.venv/bin:$PATH" sh scripts/uv.sh pip install -q --python .venv/bin/python --no-deps --no-build-isolation $editable
