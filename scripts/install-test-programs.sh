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
    need curl
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

# Programs that others wrote live in environments of their own, so that nothing of theirs mixes with ours or each other's.
requirements=tests/compat/requirements
debian_http_parser=/usr/lib/python3/dist-packages/http_parser
site_packages() { "$1/bin/python" -c 'import site; print(site.getsitepackages()[0])'; }

# Make .cache/NAME from requirements/NAME.txt: --no-deps, because the lists name all that is imported and no more.
make_environment() {
    case "$1" in
    clients) # pip, because avmesos-cli asks for a newer Python than it needs, and only pip can be told so.
        "$python" -m venv "$2" &&
            "$2/bin/python" -m pip install -q --disable-pip-version-check --no-deps --ignore-requires-python \
                --require-hashes -r "$requirements/$1.txt"
        ;;
    *)
        sh scripts/uv.sh venv -q --python "$python" "$2" &&
            sh scripts/uv.sh pip install -q --python "$2/bin/python" --no-deps --require-hashes -r "$requirements/build.txt" &&
            # Unoptimized: compiling lz4 would take half a minute otherwise.
            CFLAGS=-O0 sh scripts/uv.sh pip install -q --python "$2/bin/python" --no-deps --no-build-isolation \
                --require-hashes -r "$requirements/$1.txt"
        ;;
    esac
}

python=.venv/bin/python
for name in clients toil dpark paasta; do
    environment=.cache/$name
    lock=$(cat "$requirements/build.txt" "$requirements/$name.txt" | cksum)
    [ "$(cat "$environment/installed" 2> /dev/null)" != "$lock" ] || continue
    rm -rf "$environment"
    if ! make_environment "$name" "$environment"; then
        echo "$name cannot be installed here; the tests that need it are skipped"
        rm -rf "$environment"
        continue
    fi
    if [ -d "$debian_http_parser" ]; then
        cp -r "$debian_http_parser" "$(site_packages "$environment")"
    fi
    echo "$lock" > "$environment/installed"
done

# mesos-go's examples are built by Go, unoptimized: nobody waits for them but the build.
module=tests/compat/programs/mesos_go
examples=.cache/mesos-go
go=$(command -v go || echo /usr/local/go/bin/go)
lock=$(cat "$module/go.mod" "$module/go.sum" | cksum)
if [ ! -x "$go" ]; then
    echo "Go is not installed; the tests that need it are skipped"
elif [ "$(cat "$examples/installed" 2> /dev/null)" != "$lock" ]; then
    rm -rf "$examples"
    mkdir -p "$examples"
    commands=github.com/mesos/mesos-go/api/v1/cmd
    if (cd "$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local timeout 300 "$go" build -o "../../../../$examples/bin/" \
        -gcflags='all=-N -l' -ldflags='-s -w' "$commands/example-scheduler" "$commands/example-executor" "$commands/mwatch"); then
        echo "$lock" > "$examples/installed"
    else
        echo "mesos-go cannot be built here; the tests that need it are skipped"
    fi
fi
