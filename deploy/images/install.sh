#!/bin/sh
# Makes /opt/mezzo, the environment that an image runs: what a lock pins, then the wheels of ours that are named.
# Usage: install.sh LOCK REVISION WHEEL_NAME...
set -eu
lock=$1
revision=$2
shift 2

python3 -m venv /opt/mezzo
pip="/opt/mezzo/bin/python -m pip --no-cache-dir --disable-pip-version-check"
$pip install --only-binary=:all: --require-hashes -r "$lock"
for name in "$@"; do $pip install --no-deps --no-index "/wheels/$name"-*.whl; done
$pip check

# What --version tells of the commit.
mkdir -p /opt/mezzo/share/mezzo
printf '%s\n' "$revision" > /opt/mezzo/share/mezzo/revision

# A service installs nothing, and nobody tests NumPy in it. Compiled once here, since its root may be read-only.
/opt/mezzo/bin/python -m pip uninstall --quiet --yes setuptools pip
find /opt/mezzo -type d -name tests -prune -exec rm -rf {} +
find /opt/mezzo -name '*.pyi' -delete
find /opt/mezzo -type d -name __pycache__ -prune -exec rm -rf {} +
/opt/mezzo/bin/python -m compileall -q -j 0 /opt/mezzo/lib
