#!/bin/sh
# Runs what the README promises on a bare Debian, made with debootstrap: `make run` and the tests as root, and `make run` as an
# ordinary user with several Pythons. What is tested is this tree as it stands, with what is not committed yet.
# Usage: scripts/test-bare.sh [SUITE...]      (as root; bookworm and trixie by default)
#
#   STEPS     of root (make run), test (make $TEST) and user (make run with each of $PYTHONS); all three by default
#   TEST      what `make` is given as root: test-quick by default; "test" is the whole, "test ARGS=…" a part
#   PYTHONS   "3.11 3.12 3.13 3.14" by default. Each is the suite's, this machine's (PYTHON_FOLDERS, or pyenv's), or one that uv
#             fetches; one that cannot be had is skipped
#   PYTHON_FOLDERS   prefixes of Pythons on this machine, each with bin/python3.N
#   MIRROR    of Debian's packages; that of this machine's apt by default
#   CACHE     where the bare roots are kept between runs, and the logs; ~/.cache/mezzo/bare by default
#
# Mounts are made in a mount namespace and processes live in a PID namespace, so that nothing of either is left when the script
# ends, however it ends. Once all is installed, `make run` has a network of a loopback interface alone: it disturbs no cluster
# here, and shows that a cluster on one machine needs no network.
set -eu

say() { printf '%s\n' "$*" >&2; }
die() {
    say "test-bare: $*"
    exit 1
}

# ------------------------------------------------------------------------------------------------- inside a root

# A child of `in_root` below, in namespaces of its own: enter the root, and run a command in the user's checkout.
if [ "${1:-}" = --inside ]; then
    root=$2 user=$3 pythons=$4
    shift 4
    ip link set lo up
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    for prefix in $pythons; do
        # At its own place, since it looks for its library there.
        mkdir -p "$root$prefix"
        mount --bind "$prefix" "$root$prefix"
    done
    cd "$root"
    mkdir -p .outside
    pivot_root . .outside
    umount -l /.outside
    # Nothing of the environment outside gets in but where packages come from.
    # shellcheck disable=SC2016  # expanded inside
    set -- sh -c '. /etc/bare-environment; cd; cd mezzo; exec "$@"' sh "$@"
    home=$(awk -F: -v user="$user" '$1 == user { print $6 }' /etc/passwd)
    set -- env -i HOME="$home" USER="$user" LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    [ "$user" = root ] || exec runuser -u "$user" -- "$@"
    exec "$@"
fi

# ------------------------------------------------------------------------------------------------------ settings

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || die "has to run as root: it makes file systems and namespaces"
for program in debootstrap unshare pivot_root ip flock; do
    command -v $program > /dev/null ||
        die "$program is missing ('apt-get install debootstrap util-linux iproute2' on Debian)"
done
# shellcheck disable=SC2016  # apt's own variables
mirror=${MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2> /dev/null |
    sed -n 's/^Debian //p' | grep -v security | head -n 1)}
[ -n "$mirror" ] || die "apt knows no mirror of Debian here: name one with MIRROR=…"

cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mezzo/bare}
mkdir -p "$cache/logs"
exec 9> "$cache/lock"
flock -n 9 || die "another run has $cache"
# What a run left that was killed.
rm -rf "$cache"/root.*

root=$(mktemp -d "$cache/root.XXXXXX")
child=""
results=""
failed=""
clean_up() {
    # With unshare ends whatever runs in the root, and with it the root's mounts.
    [ -z "$child" ] || { kill -KILL "$child" && wait "$child"; } 2> /dev/null || true
    rm -rf "$root"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --------------------------------------------------------------------------------------------------------- roots

# Makes a suite with the two programs that the README asks for, once.
make_base() {
    [ -d "$cache/$1" ] && return
    say "$1: making a bare root"
    rm -rf "$cache/$1.part"
    debootstrap --variant=minbase --include=git,make "$1" "$cache/$1.part" "$mirror" > "$cache/logs/$1-debootstrap.log" 2>&1 ||
        die "debootstrap failed: see $cache/logs/$1-debootstrap.log"
    rm -rf "$cache/$1.part"/var/cache/apt/archives/*.deb
    mv "$cache/$1.part" "$cache/$1"
}

# A copy of it that knows where packages come from here, with the tree as the root's and as an ordinary user's.
make_root() {
    rm -rf "$root"
    cp -a "$cache/$1" "$root"
    chmod 755 "$root"
    printf '127.0.0.1 localhost\n127.0.1.1 bare\n' > "$root/etc/hosts"
    echo bare > "$root/etc/hostname"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    apt-config dump | grep -iE '^Acquire::(https?|::)*Proxy' > "$root/etc/apt/apt.conf.d/90outside" || true
    for file in /etc/pip.conf /etc/uv/uv.toml; do
        [ ! -e $file ] || { mkdir -p "$root${file%/*}" && cp -L $file "$root$file"; }
    done
    mkdir -p "$root/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$root/usr/local/share/ca-certificates/" \; 2> /dev/null || true
    env | grep -iE '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)|UV_.*(INDEX|MIRROR).*|(https?|no|all)_proxy)=' |
        sed "s/'/'\\\\''/g; s/=/='/; s/^/export /; s/\$/'/" > "$root/etc/bare-environment" || true
    chmod 711 "$root/root"  # for Pythons that are mounted below it
    chroot "$root" useradd -m -s /bin/bash mezzo
    for home in root home/mezzo; do
        mkdir "$root/$home/mezzo"
        git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
            tar --create --null --files-from=- --ignore-failed-read --warning=no-failed-read |
            tar --extract --directory "$root/$home/mezzo"
    done
    chroot "$root" chown -R mezzo: /home/mezzo
}

# in_root USER online|offline COMMAND…
in_root() {
    user=$1 network=""
    [ "$2" = online ] || network=--net
    shift 2
    # In the background: a signal to this script is to be acted on at once.
    # shellcheck disable=SC2086  # a flag or none
    unshare --mount --pid --ipc --uts $network --fork --kill-child sh "$script" --inside "$root" "$user" "$mounted" "$@" \
        < /dev/null > "$log" 2>&1 9>&- &
    child=$!
    status=0
    wait "$child" || status=$?
    child=""
    return $status
}

# step NAME USER online|offline COMMAND…: run it, and note how it went.
step() {
    name="$suite: $1"
    log=$cache/logs/$(printf '%s' "$suite-$1" | tr -c 'A-Za-z0-9.\n-' '_').log
    shift
    began=$(date +%s)
    say "$name …"
    if in_root "$@"; then
        outcome=ok
    else
        outcome="FAILED, see $log"
        failed=yes
        tail -n 15 "$log" >&2
    fi
    results="$results$(printf '%-60s %4s s  %s' "$name" $(($(date +%s) - began)) "$outcome")
"
    [ "$outcome" = ok ]
}

# Prints what is called so inside the root.
python_of() {
    version=$1
    if [ -x "$root/usr/bin/python$version" ]; then
        echo "/usr/bin/python$version"
        return
    fi
    for prefix in $mounted; do
        [ ! -x "$prefix/bin/python$version" ] || { echo "$prefix/bin/python$version" && return; }
    done
    log=$cache/logs/$suite-uv.log
    # shellcheck disable=SC2016
    if in_root mezzo online sh -c 'sh scripts/uv.sh python install "$1" && sh scripts/uv.sh python find "$1"' sh "$version"; then
        tail -n 1 "$log"
    fi
}

run_as_root() {
    step "make install, as root" root online make install || return 0
    step "make run ARGS=--once, as root" root offline make run ARGS=--once || return 0
}

run_as_user() {
    # What the README asks for, and install.sh names where it is missing.
    step "Debian's python3" root online sh -c \
        'apt-get update -qq; apt-get install -y -qq --no-install-recommends python3 python3-venv ca-certificates' || return 0
    for version in $pythons; do
        python=$(python_of "$version")
        if [ -z "$python" ]; then
            results="$results$(printf '%-60s %4s    %s' "$suite: Python $version" - 'skipped: there is none here')
"
            continue
        fi
        step "make install with Python $version, as a user" mezzo online \
            env MEZZO_PYTHON="$python" sh -c 'rm -rf .venv && make install' || continue
        step "make run ARGS=--once with Python $version, as a user" mezzo offline make run ARGS=--once || continue
    done
}

script=$PWD/scripts/test-bare.sh
pythons=${PYTHONS:-3.11 3.12 3.13 3.14}
mounted=""
for version in $pythons; do
    for prefix in ${PYTHON_FOLDERS:-} "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*; do
        [ ! -x "$prefix/bin/python$version" ] || mounted="$mounted $prefix"
    done
done

[ $# -gt 0 ] || set -- bookworm trixie
for suite in "$@"; do
    make_base "$suite"
    make_root "$suite"
    for each in ${STEPS:-root test user}; do
        case $each in
            root) run_as_root ;;
            # shellcheck disable=SC2086  # several words
            test) step "make ${TEST:-test-quick}, as root" root online make ${TEST:-test-quick} || true ;;
            user) run_as_user ;;
            *) die "STEPS: $each is none of root, test and user" ;;
        esac
    done
done
printf '%s' "$results"
[ -z "$failed" ]
