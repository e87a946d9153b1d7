#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what a group of verbs needs and is not there yet: Debian packages through apt, npm packages by lockfile.
# Quick and silent when nothing is missing; a run that was interrupted is repaired by the next one.
#
#   tools/deps.sh [build|test|demo|bench]...
#
# PINFOLD_NO_INSTALL=1 only says what is missing (exit 1).
set -u
cd "$(dirname "$0")/.." || exit 1

# One word a package. "command=package" is satisfied by the command too, wherever it came from.
BUILD="gcc=gcc make=make meson=meson ninja=ninja-build pkg-config=pkg-config python3=python3 libc6-dev libuv1-dev
libjansson-dev libsqlite3-dev libcurl4-openssl-dev libssl-dev libseccomp-dev libcap-ng-dev libpcre2-dev libcyaml-dev
libyaml-dev libcmocka-dev"
SANDBOX="runsc=runsc mmdebstrap=mmdebstrap mkfs.ext4=e2fsprogs mount=mount ca-certificates"
NODE="node=nodejs npm=npm"
TEST="clang-14=clang-14 clang-format-14=clang-format-14 libclang-rt-14-dev llvm-symbolizer-14=llvm-14 pmccabe=pmccabe
ctags=universal-ctags nm=binutils git=git curl=curl jq=jq strace=strace ip=iproute2 ps=procps"
DEMO="dpkg-source=dpkg-dev curl=curl"
BENCH="wrk=wrk"

say() {
	printf 'deps: %s\n' "$*" >&2
}

die() {
	say "$*"
	exit 1
}

# What apt would have to install, out of the words given.
missing_packages() {
	local word libs=() here
	for word in "$@"; do
		case $word in
		*=*) command -v "${word%%=*}" >/dev/null || libs+=("${word#*=}") ;;
		*) libs+=("$word") ;;
		esac
	done
	[ ${#libs[@]} -gt 0 ] || return 0
	here=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${libs[@]}" 2>/dev/null |
		sed -n 's/^ii *//p' | tr '\n' ' ')"
	for word in "${libs[@]}"; do
		case $here in
		*" $word "*) ;;
		*) printf '%s\n' "$word" ;;
		esac
	done
}

apt() {
	$SUDO env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
		-o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

# Runs a step with its output in the log; shows the end of the log when it fails.
logged() {
	"$@" >>"$LOG" 2>&1 && return
	tail -n 15 "$LOG" >&2
	return 1
}

# Finds out how to become root, or says which command somebody who is root should type.
become_root() {
	SUDO=
	[ "$(id -u)" -eq 0 ] && return
	if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
		SUDO=sudo
		return
	fi
	die "not root and no sudo: as root, run: apt-get install --no-install-recommends $*"
}

install_packages() {
	[ $# -gt 0 ] || return 0
	[ -z "${PINFOLD_NO_INSTALL:-}" ] || die "missing packages: $*"
	command -v apt-get >/dev/null || die "no apt-get here; Pinfold builds on Debian 12. Missing: $*"
	become_root "$@"
	say "installing (log: $LOG): $*"
	# An earlier run may have been interrupted between unpacking and configuring.
	if [ -n "$($SUDO dpkg --audit 2>/dev/null)" ]; then
		logged $SUDO env DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confold
		logged apt -y --fix-broken install
	fi
	logged apt update || die "apt-get update failed: is there a network, and a mirror in /etc/apt?"
	logged apt -y --no-install-recommends install "$@" || die "apt-get could not install: $*"
}

# npm ci in a folder with a lockfile, again only when the lockfile or node's major version changed. The stamp is
# written last and lives in what npm ci removes first, so an interrupted run never looks finished.
install_npm() {
	local dir=$1 stamp=$1/node_modules/.pinfold-stamp want
	[ -f "$dir/package-lock.json" ] || return 0
	want="$(cat "$dir/package.json" "$dir/package-lock.json" | sha256sum | cut -c1-64) $(node --version | cut -d. -f1)"
	[ "$want" = "$(cat "$stamp" 2>/dev/null)" ] && return
	[ -z "${PINFOLD_NO_INSTALL:-}" ] || die "npm packages of $dir are missing or out of date"
	say "installing npm packages of $dir (log: $LOG)"
	logged npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error ||
		die "npm ci failed in $dir: is there a network?"
	printf '%s\n' "$want" >"$stamp"
}

LOG=.work/deps.log
words=$BUILD
npm_dirs=()
for group in "${@:-build}"; do
	case $group in
	build) ;;
	test) words+=" $TEST $SANDBOX $NODE" npm_dirs+=(tests/wire) ;;
	demo)
		words+=" $DEMO $SANDBOX"
		[ ! -f demo/package.json ] || { words+=" $NODE" npm_dirs+=(demo); }
		;;
	bench) words+=" $BENCH $SANDBOX $NODE" npm_dirs+=(tests/wire) ;;
	*) die "unknown group '$group'; the groups are: build test demo bench" ;;
	esac
done

# Some tools live where an ordinary user's PATH does not reach.
PATH=$PATH:/usr/sbin:/sbin
trap 'say "interrupted; run it again to finish"; exit 130' INT TERM

# Two verbs at once in one checkout: the second waits, then finds everything there.
mkdir -p .work
exec 9>.work/deps.lock
flock 9 || die "cannot lock .work/deps.lock"
: >"$LOG"

# shellcheck disable=SC2086
mapfile -t need < <(missing_packages $words | sort -u)
install_packages "${need[@]}" 9>&-
for dir in "${npm_dirs[@]}"; do
	install_npm "$dir" 9>&-
done
