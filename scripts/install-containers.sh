#!/bin/sh
# Installs Debian's container programs, which `make soak` and `make test-kubernetes` start for themselves: Docker and Compose,
# containerd, and what nodes of Kubernetes call. Nothing of it is started as a service. Without root on Debian it says what is
# missing, and fails.
set -eu

packages=""
for package in docker.io docker-compose debootstrap containerd runc containernetworking-plugins conntrack iptables iproute2 \
    ethtool tini; do
    dpkg -s "$package" > /dev/null 2>&1 || packages="$packages $package"
done
[ -n "$packages" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "Not installed, and not root on Debian:$packages" >&2
    exit 1
fi

echo "Installing$packages"
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086  # several packages
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages > /dev/null
