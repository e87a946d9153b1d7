#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs one kind of test. Exit 3: there is none of that kind here, and the last line says so.
#
#   tools/tests.sh unit BUILD_DIR [PATTERN]     unit tests and fuzz corpora, by meson
#   tools/tests.sh wire|fault [PATTERN]         tests/KIND/run if it is there, else its *.test.* files by node:test
#   tools/tests.sh torture RUNS
#   tools/tests.sh bench|e2e [PATTERN]          tests/KIND/run
#   tools/tests.sh demo                         demo/run.sh
set -eu
cd "$(dirname "$0")/.."
kind=$1
shift

none() {
	echo "$kind: $*"
	exit 3
}

unit() {
	local dir=$1 pattern=${2:-} names
	mapfile -t names < <(meson test -C "$dir" --no-rebuild --list --suite unit --suite fuzz 2>/dev/null |
		sed -n 's/^.* \/ //p' | grep -E -- "${pattern:-.}")
	[ ${#names[@]} -gt 0 ] || none "no test is named like '${pattern:-.}'"
	# A sanitizer's report must fail the test, whatever the test makes of its own exit status.
	export ASAN_OPTIONS="abort_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}"
	export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}"
	if command -v llvm-symbolizer-14 >/dev/null; then
		export ASAN_SYMBOLIZER_PATH=${ASAN_SYMBOLIZER_PATH:-$(command -v llvm-symbolizer-14)}
	fi
	exec meson test -C "$dir" --no-rebuild --print-errorlogs "${names[@]}"
}

# tests/KIND/run gets the pattern as its only argument. Without it node gets every tests/KIND/*.test.* in which the
# pattern occurs, to pick tests by name; a pattern that is only the name of a file means the whole file.
by_node() {
	local pattern=${1:-} options=(--test) found picked
	[ ! -x "tests/$kind/run" ] || exec "tests/$kind/run" "$pattern"
	mapfile -t found < <(find "tests/$kind" -maxdepth 2 -name node_modules -prune -o \
		\( -name '*.test.js' -o -name '*.test.mjs' \) -print | sort)
	[ ${#found[@]} -gt 0 ] || none "tests/$kind has no tests yet"
	if [ -n "$pattern" ]; then
		mapfile -t picked < <(grep -lE -e "$pattern" "${found[@]}")
		if [ ${#picked[@]} -gt 0 ]; then
			options+=(--test-name-pattern="$pattern")
		else
			mapfile -t picked < <(printf '%s\n' "${found[@]}" | grep -E -e "$pattern")
		fi
		[ ${#picked[@]} -gt 0 ] || none "no test is named like '$pattern'"
		found=("${picked[@]}")
	fi
	[ -t 1 ] || options+=(--test-reporter=tap)
	exec node "${options[@]}" "${found[@]}"
}

script() {
	local path=$1
	shift
	[ -x "$path" ] || none "$path does not exist yet"
	exec "$path" "$@"
}

export PINFOLD=${PINFOLD:-$PWD/build/pinfold} PINFOLD_IMAGE_DIR=${PINFOLD_IMAGE_DIR:-$PWD/.work/image}
case $kind in
wire | fault | torture | bench | e2e)
	tools/image.sh || echo "$kind: going on without an image; what needs one will say so"
	;;
esac
case $kind in
unit) unit "$@" ;;
wire | fault) by_node "$@" ;;
torture)
	[ ! -x tests/fault/torture ] || exec tests/fault/torture "$@"
	script tests/fault/torture.sh "$@"
	;;
bench | e2e) script "tests/$kind/run" "$@" ;;
demo) script demo/run.sh ;;
*)
	echo "tests: unknown kind '$kind'" >&2
	exit 2
	;;
esac
