#!/bin/sh
# Runs .venv's uv with the index, certificates, proxy and hosts that pip is configured for: uv reads neither pip.conf nor PIP_*
# variables. Variables of uv's own (UV_…, SSL_CERT_FILE) come first.
# Usage: scripts/uv.sh ARGUMENT_OF_UV...
set -eu
here=$(dirname "$0")/..
here=$(cd "$here" && pwd)
settings=$("$here/.venv/bin/python" -m pip --disable-pip-version-check config list 2> /dev/null || true)

# Prints what pip is told of a setting, with blanks between several values: by the environment, for `pip install`, or for all.
pip_setting() {
    for section in :env:. install. global.; do
        found=$(printf '%s\n' "$settings" | sed -n "s/^$section$1=['\"]\(.*\)['\"]\$/\1/p" | sed 's/\\n/ /g; s/^ *//')
        [ -z "$found" ] || { printf '%s' "$found" && return; }
    done
}

# Sets a variable of uv's to pip's setting, where the one is not set and the other is.
take() {
    eval "already=\${$1:-}"
    value=$(pip_setting "$2")
    [ -n "$already" ] || [ -z "$value" ] || export "$1=$value"
}

take UV_DEFAULT_INDEX index-url
take UV_INDEX extra-index-url
take UV_INSECURE_HOST trusted-host
take UV_HTTP_TIMEOUT timeout
take UV_HTTP_TIMEOUT default-timeout
take SSL_CERT_FILE cert
take SSL_CLIENT_CERT client-cert
take ALL_PROXY proxy
# pip takes the best version of all indexes, uv of the first that has any. What is installed is pinned by its hash.
[ -z "${UV_INDEX:-}" ] || export UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"
# Like pip of Debian, and pip from 24.2 on anywhere: what the system trusts, a company's own authority perhaps.
if [ -z "${SSL_CERT_FILE:-}${UV_SYSTEM_CERTS:-}" ]; then
    for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do
        [ ! -s $bundle ] || export UV_SYSTEM_CERTS=true
    done
fi
links=""
for link in $(pip_setting find-links); do
    case $link in
        *://*) links="$links,$link" ;;
        *) [ ! -e "$link" ] || links="$links,$link" ;; # pip passes over what is not there, too
    esac
done
[ -n "${UV_FIND_LINKS:-}" ] || [ -z "$links" ] || export UV_FIND_LINKS="${links#,}"

exec "$here/.venv/bin/uv" "$@"
