#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs libFuzzer targets of build-fuzz/, each for some seconds, on the corpus in the tree and on what earlier runs
# found (.work/fuzz/TARGET). With KEEP=1 the finds that reach new code are copied into the tree.
#
#   tools/fuzz.sh [TARGET] [SECONDS]
set -eu
cd "$(dirname "$0")/.."
want=${1:-} seconds=${2:-60}
export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}"
if command -v llvm-symbolizer-14 >/dev/null; then
	export ASAN_SYMBOLIZER_PATH=${ASAN_SYMBOLIZER_PATH:-$(command -v llvm-symbolizer-14)}
fi

fuzz_one() {
	local name=$1 exe=build-fuzz/tests/fuzz/fuzz_$1 seeds=tests/fuzz/corpus/$1 own=.work/fuzz/$1
	local options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
		-artifact_prefix="$own.crash/")
	[ ! -f "tests/fuzz/dict/$name.dict" ] || options+=(-dict="tests/fuzz/dict/$name.dict")
	mkdir -p "$own" "$own.crash" "$seeds"
	printf '== %s, %s s\n' "$name" "$seconds"
	if ! "$exe" "${options[@]}" "$own" "$seeds" >"$own.log" 2>&1; then
		tail -n 40 "$own.log"
		echo "fuzz: $name failed; its input lies in $own.crash/: fix it, name it and add it to $seeds"
		return 1
	fi
	grep -E 'stat::(number_of_executed_units|average_exec_per_sec|new_units_added)|^Done' "$own.log" || true
	[ -z "${KEEP:-}" ] || "$exe" -merge=1 "$seeds" "$own" 2>&1 | grep -E 'MERGE-OUTER: [0-9]+ new' || true
}

shopt -s nullglob
targets=()
for source in tests/fuzz/fuzz_*.c; do
	name=$(basename "$source" .c)
	name=${name#fuzz_}
	[ -n "$want" ] && [ "$name" != "$want" ] && continue
	targets+=("$name")
done
if [ ${#targets[@]} -eq 0 ]; then
	echo "fuzz: no target '$want'; there are: $(basename -s .c -a tests/fuzz/fuzz_*.c | sed 's/^fuzz_//' | tr '\n' ' ')"
	exit 1
fi
ninja -C build-fuzz "${targets[@]/#/tests/fuzz/fuzz_}"
failed=()
for name in "${targets[@]}"; do
	fuzz_one "$name" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzz: FAILED: ${failed[*]}"; exit 1; }
echo "fuzz: ${#targets[@]} targets, no finding"
