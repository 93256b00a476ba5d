#!/bin/sh
# Installs the programs of other people that tests run against: ZooKeeper, Java, and what unmodified clients need.
# Without root or apt the tests that need them are skipped, and say why.
set -eu
cd "$(dirname "$0")/.."

packages=""
need() { dpkg -s "$1" > /dev/null 2>&1 || packages="$packages $1"; }

if command -v dpkg > /dev/null; then
    need zookeeper
    command -v java > /dev/null || need default-jre-headless
    need python3-http-parser
    need procps
    need xz-utils
    need bzip2
fi
if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        echo "Installing$packages"
        apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages > /dev/null
    else
        echo "Not installed, and not root:$packages; the tests that need them are skipped"
    fi
fi
