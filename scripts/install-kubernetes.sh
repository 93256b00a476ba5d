#!/bin/sh
# Installs what `make test-kubernetes` needs: Debian's container programs, and a Kubernetes that is built from its sources,
# which takes two processors about a quarter of an hour, once. It is kept below the cache folder of the user, by what
# tests/kubernetes/modules pins. Without root on Debian, Go or a C compiler it says what is missing, and fails.
# With --where it prints the folder of a Kubernetes that is complete, and does nothing.
set -eu
cd "$(dirname "$0")/.."

modules=tests/kubernetes/modules
pinned=$(cat "$modules"/*/* | sha256sum | cut -c1-16)
built=${XDG_CACHE_HOME:-$HOME/.cache}/mezzo/kubernetes-$pinned

say() { printf '%s\n' "$*" >&2; }

if [ "${1:-}" = --where ]; then
    [ ! -e "$built/complete" ] || echo "$built"
    exit 0
fi

sh scripts/install-containers.sh

[ ! -e "$built/complete" ] || exit 0
for program in go gcc; do
    command -v "$program" > /dev/null || { say "Kubernetes cannot be built: there is no $program"; exit 1; }
done

mkdir -p "$built"
export GOTOOLCHAIN="${GOTOOLCHAIN:-local}" GOFLAGS="-mod=readonly -trimpath -buildvcs=false" CGO_ENABLED=0
version=$(sed -n 's,^\tk8s.io/kubernetes \(v[^ ]*\)$,\1,p' "$modules/kubernetes/go.mod")
minor=${version#v1.}
# Helm asks the API server for its version.
settings="-s -w"
for name in "gitVersion=$version" gitMajor=1 "gitMinor=${minor%%.*}"; do
    settings="$settings -X k8s.io/component-base/version.$name"
done

# What is built already is left: this may have been interrupted.
build() { # MODULE PROGRAM PACKAGE
    [ ! -x "$built/$2" ] || return 0
    say "Building $2"
    (cd "$modules/$1" && nice go build -ldflags "$settings" -o "$built/$2.part" "$3")
    mv "$built/$2.part" "$built/$2"
}
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    build kubernetes "$program" "k8s.io/kubernetes/cmd/$program"
done
build etcd etcd .
build coredns coredns .
if [ ! -x "$built/pause" ]; then
    sources=$(cd "$modules/kubernetes" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)
    gcc -Os -static -DVERSION=1 -o "$built/pause" "$sources/build/pause/linux/pause.c"
fi
touch "$built/complete"
say "Kubernetes $version is in $built"
