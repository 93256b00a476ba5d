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
    need iproute2
    need iptables
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

# Prometheus is unpacked beside the tests, not installed: Debian's package would start it as a service.
unpacked=.cache/programs
if ! command -v prometheus > /dev/null && [ ! -x "$unpacked/usr/bin/prometheus" ]; then
    fetched=$(mktemp -d)
    chmod 755 "$fetched"
    fetch() { (cd "$fetched" && apt-get download -qq prometheus > /dev/null 2>&1); }
    if command -v apt-get > /dev/null && { fetch || { [ "$(id -u)" = 0 ] && apt-get update -qq && fetch; }; }; then
        mkdir -p "$unpacked"
        dpkg -x "$fetched"/prometheus_*.deb "$unpacked"
    else
        echo "Prometheus is not to be had; the tests that need it are skipped"
    fi
    rm -rf "$fetched"
fi

sh scripts/install-helm.sh || echo "The tests of the chart that need helm are skipped"

# Clients that others wrote live in an environment of their own, so that nothing of theirs mixes with ours.
clients=.cache/clients
if [ ! -e "$clients/installed" ] || [ tests/compat/requirements.txt -nt "$clients/installed" ]; then
    rm -rf "$clients"
    .venv/bin/python -m venv "$clients"
    "$clients/bin/python" -m pip install -q --disable-pip-version-check --no-deps --ignore-requires-python \
        --require-hashes -r tests/compat/requirements.txt
    if [ -d /usr/lib/python3/dist-packages/http_parser ]; then
        cp -r /usr/lib/python3/dist-packages/http_parser "$("$clients/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
    fi
    touch "$clients/installed"
fi
