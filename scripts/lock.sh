#!/bin/sh
# Pins all dependencies with hashes and without addresses.
set -eu
cd "$(dirname "$0")/.."
compile() {
    sh scripts/uv.sh pip compile -q --universal --python-version "${python_version:-3.11}" --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-annotate --no-header "$@"
}
own=""
for name in mezzo mezzo-chassis mezzo-allocator mezzo-registry mezzo-agent mezzo-gateway; do own="$own --no-emit-package $name"; done
# shellcheck disable=SC2086
compile --upgrade --extra cli --extra zk $own requirements-dev.in sdk/python/pyproject.toml services/*/pyproject.toml -o requirements-dev.txt
echo uv | compile --upgrade - -o requirements-uv.txt

# What each image installs: of the same versions, those that its service needs.
for service in registry allocator gateway agent; do
    rm -f "services/$service/requirements.txt"
    sources="services/$service/pyproject.toml"
    # The gateway's image has the command `mezzo`.
    [ "$service" != gateway ] || sources="$sources sdk/python/pyproject.toml --extra cli"
    # shellcheck disable=SC2086  # several words
    compile --constraints requirements-dev.txt --no-emit-package mezzo --no-emit-package mezzo-chassis \
        $sources -o "services/$service/requirements.txt"
done
compile --constraints requirements-dev.txt deploy/images/build.in -o deploy/images/build.txt

# Programs of others that tests run, and what they import: the lists are whole, and what is pinned already stays.
for name in build toil dpark paasta; do
    compile --no-deps "tests/compat/requirements/$name.in" -o "tests/compat/requirements/$name.txt"
done
# avmesos-cli asks for a newer Python than it needs.
python_version=3.12 compile --no-deps tests/compat/requirements/clients.in -o tests/compat/requirements/clients.txt
