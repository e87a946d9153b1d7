#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make demo: an agent builds, tests and changes a C library in a gVisor sandbox, on a server of its own, without a key.
#
# Everything it makes lies in .work/demo (thrown away by the next run) and .work/image (kept). Safe to interrupt, safe
# to repeat; leaves no process behind. DEMO_PORT chooses another port than 8400, PINFOLD_IMAGE_DIR an image that is there.
set -eu
cd "$(dirname "$0")/.."
work=.work/demo
data=$work/data
image=${PINFOLD_IMAGE_DIR:-.work/image}
port=${DEMO_PORT:-8400}
pinfold=build/pinfold
server=
child=

say() {
	printf '%s\n' "$*"
}

die() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}

# A process and all below it, deepest first.
tree() {
	for pid in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		tree "$pid"
	done
	echo "$1"
}

# Nothing that was started stays, however this ends. A second signal does not interrupt the cleaning up.
finish() {
	code=$?
	trap '' INT TERM HUP
	trap - EXIT
	if [ -n "$child" ]; then
		# shellcheck disable=SC2046
		kill -TERM $(tree "$child") 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	if [ -n "$server" ]; then
		kill -TERM "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	exit "$code"
}

# Runs a long step so that a signal to this script does not have to wait for its end.
step() {
	"$@" &
	child=$!
	code=0
	wait "$child" || code=$?
	child=
	return "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

[ "$(id -u)" -eq 0 ] || die "the server makes sandboxes, which needs root. Try: sudo make demo"

# ---- what it needs ----

step tools/deps.sh build demo
step make --no-print-directory build
if curl -s -o "/dev/null" --max-time 2 "http://127.0.0.1:$port/"; then
	die "something answers on 127.0.0.1:$port already. Stop it, or choose another port: DEMO_PORT=8401 make demo"
fi
step tools/image.sh

rm -rf "$work"
mkdir -p "$work/outputs"

say "fetching the source package of lz4"
step demo/fetch-source.sh lz4 "$work/source"
ls "$work/source" | sed 's/^/          /'

# ---- the server ----

cat >"$work/pinfold.yaml" <<END
sandbox:
  image: '$(printf '%s' "$(realpath -s "$image")" | sed "s/'/''/g")'
END

# Its own session, so that an interrupt reaches it through finish only; it dies with this script.
setpriv --pdeathsig TERM setsid "$pinfold" serve --data "$data" --listen "127.0.0.1:$port" \
	--config "$work/pinfold.yaml" >"$work/server.txt" 2>"$work/server.log" &
server=$!
tries=0
until [ -s "$data/listen" ] && [ -s "$data/admin.key" ]; do
	tries=$((tries + 1))
	if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 300 ]; then
		tail -n 5 "$work/server.log" "$work/server.txt" >&2
		die "the server did not start; its log is $work/server.log"
	fi
	sleep 0.1
done
# Which way of running gVisor works on this host is found out by trying, once for a data directory.
state=
until [ "$state" = ready ]; do
	state=$(curl -s -H "x-api-key: $(cat "$data/admin.key")" "http://127.0.0.1:$port/v1/pinfold/status" |
		sed -n 's/.*"state":"\([a-z]*\)".*/\1/p')
	tries=$((tries + 1))
	if [ "$state" = unusable ] || [ "$tries" -gt 600 ]; then
		die "sandboxes do not start on this host; $pinfold doctor says why"
	fi
	[ "$state" = ready ] || sleep 0.1
done
sed 's/^/          /' "$work/server.txt"

# ---- the job ----

say "
$pinfold run --data $data --prompt-file demo/lz4.puppet --outputs $work/outputs --file $work/source/..."
files=
for part in dsc orig.tar debian.tar; do
	files=$files${files:+,}$work/source/lz4.$part:/mnt/session/uploads/lz4.$part
done
step "$pinfold" run --data "$data" --prompt-file demo/lz4.puppet --title "lz4 in a sandbox" --outputs "$work/outputs" \
	--file "$files" || die "the job did not end well; what the server said is in $work/server.log"
[ -s "$work/outputs/report.md" ] || die "the job wrote no report"

say "
What the agent wrote is in .work/demo/outputs, what the server said in .work/demo/server.log. The server of the demo
ends now; its data stays until the next run. To look further, start it again:
  build/pinfold serve --data .work/demo/data --config .work/demo/pinfold.yaml --listen 127.0.0.1:$port"
