#!/bin/sh
# Builds what is given to others into dist/: a wheel and an archive of sources of each distribution, the chart, and a file of
# their sums. Nothing is sent anywhere.
# Usage: scripts/release.sh [chart]      (the chart alone)
#
#   DIST        the folder, made anew; dist by default
#   SIGN_KEY    the name of a key of GnuPG. The chart then has a provenance file beside it, which `helm verify` and
#               `helm install --verify` read, and the file of sums a signature (SHA256SUMS.asc).
set -eu
cd "$(dirname "$0")/.."

dist=${DIST:-dist}
rm -rf "$dist"
mkdir -p "$dist"

if [ "${1:-all}" = all ]; then
    for package in sdk/python services/*/; do
        sh scripts/uv.sh build -q --out-dir "$dist" "$package"
    done
    rm -f "$dist/.gitignore"
fi

helm=$(sh scripts/install-helm.sh --where)
if [ -n "${SIGN_KEY:-}" ]; then
    # helm reads a key ring of the older form, which GnuPG writes on demand.
    keyring=$(mktemp)
    trap 'rm -f "$keyring"' EXIT
    gpg --export-secret-keys "$SIGN_KEY" > "$keyring"
    "$helm" package charts/mezzo --destination "$dist" --sign --key "$SIGN_KEY" --keyring "$keyring" > /dev/null
else
    "$helm" package charts/mezzo --destination "$dist" > /dev/null
fi

(cd "$dist" && find . -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum -- > SHA256SUMS)
[ -z "${SIGN_KEY:-}" ] || gpg --yes --armor --detach-sign --local-user "$SIGN_KEY" "$dist/SHA256SUMS"
ls -l "$dist"
