#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Configures a build folder if it is not yet; ninja looks after it from then on.
#
#   tools/configure.sh build|build-asan|build-fuzz
set -eu
cd "$(dirname "$0")/.."
dir=$1
options=()
case $dir in
build) ;;
build-asan | build-fuzz)
	export CC=clang-14
	# clang links the sanitizers' run time into programs only, so -Wl,--no-undefined cannot hold.
	options=("-Db_sanitize=address,undefined" -Db_lundef=false)
	[ "$dir" = build-asan ] || options+=(-Dfuzz=true)
	;;
*)
	echo "configure: no such build: $dir" >&2
	exit 2
	;;
esac
[ ! -f "$dir/build.ninja" ] || exit 0
# A configuration that was interrupted left a folder that meson takes for configured.
rm -rf "$dir/meson-private" "$dir/meson-info"
log=$(meson setup "$dir" "${options[@]}" 2>&1) || {
	printf '%s\n' "$log" | grep -v -E ' (found|arguments? [^ ]+): (YES|NO)' >&2
	exit 1
}
