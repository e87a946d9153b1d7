#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs one kind of test. Exit 3: there is none of that kind here, and the last line says so.
#
#   tools/tests.sh unit BUILD_DIR [PATTERN]     unit tests and fuzz corpora, by meson
#   tools/tests.sh wire|fault [PATTERN]         tests/KIND/run if it is there, else its *.test.* files by node:test;
#                                               fault: the programs of meson's suite of that name first
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

# Runs the tests of meson suites whose names match. Returns 3 when there are none.
by_meson() {
	local dir=$1 pattern=${2:-.} suites=() suite names
	shift 2
	for suite; do
		suites+=(--suite "$suite")
	done
	mapfile -t names < <(meson test -C "$dir" --no-rebuild --list "${suites[@]}" 2>/dev/null |
		sed -n 's/^.* \/ //p' | grep -E -e "$pattern")
	[ ${#names[@]} -gt 0 ] || return 3
	meson test -C "$dir" --no-rebuild --print-errorlogs "${names[@]}"
}

unit() {
	# A sanitizer's report must fail the test, whatever the test makes of its own exit status.
	export ASAN_OPTIONS="abort_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}"
	export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}"
	if command -v llvm-symbolizer-14 >/dev/null; then
		export ASAN_SYMBOLIZER_PATH=${ASAN_SYMBOLIZER_PATH:-$(command -v llvm-symbolizer-14)}
	fi
	local rc=0
	by_meson "$1" "${2:-}" unit fuzz || rc=$?
	[ $rc -ne 3 ] || none "no test is named like '${2:-.}'"
	exit $rc
}

# The programs of the meson suite `fault`, then the files for node.
fault() {
	local by_program=0 by_script=0
	by_meson build "${1:-}" fault || by_program=$?
	(by_node "$@") || by_script=$?
	if [ $by_program -eq 3 ]; then
		exit $by_script
	fi
	[ $by_script -eq 3 ] || [ $by_program -ne 0 ] || exit $by_script
	exit $by_program
}

# tests/KIND/run gets the pattern as its only argument. Without it node gets every tests/KIND/*.test.* in which the
# pattern occurs, to pick tests by name; a pattern that is the name of a file, or occurs in names of files only, means the whole file.
by_node() {
	local pattern=${1:-} options=(--test) found picked
	[ ! -x "tests/$kind/run" ] || exec "tests/$kind/run" "$pattern"
	mapfile -t found < <(find "tests/$kind" -maxdepth 2 -name node_modules -prune -o \
		\( -name '*.test.js' -o -name '*.test.mjs' \) -print | sort)
	[ ${#found[@]} -gt 0 ] || none "tests/$kind has no tests yet"
	if [ -n "$pattern" ] && [ -f "tests/$kind/$pattern.test.mjs" ]; then
		found=("tests/$kind/$pattern.test.mjs")
	elif [ -n "$pattern" ]; then
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
export PINFOLD_IMAGE=$PINFOLD_IMAGE_DIR PINFOLD_GUEST=${PINFOLD_GUEST:-$PWD/build/src/guest/pinfold-guest}
case $(node --version 2>/dev/null) in
v18.*) export NODE_OPTIONS="--import=file://$PWD/tests/node18.mjs ${NODE_OPTIONS:-}" ;;
esac
case $kind in
wire | fault | torture | bench | e2e)
	tools/image.sh || echo "$kind: going on without an image; what needs one will say so"
	;;
esac
case $kind in
unit) unit "$@" ;;
wire) by_node "$@" ;;
fault) fault "$@" ;;
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
