#!/bin/sh
# Pins all dependencies with hashes and without addresses.
set -eu
cd "$(dirname "$0")/.."
compile() {
    .venv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate --no-header "$@"
}
own=""
for name in mezzo mezzo-chassis mezzo-allocator mezzo-registry mezzo-agent mezzo-gateway; do own="$own --no-emit-package $name"; done
# shellcheck disable=SC2086
compile $own requirements-dev.in sdk/python/pyproject.toml services/*/pyproject.toml -o requirements-dev.txt
echo uv | compile - -o requirements-uv.txt
