#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make demo: an agent builds, tests and changes a C library in a gVisor sandbox, on a server of its own, without a key.
#
# Everything it makes lies in .work/demo (thrown away by the next run) and .work/image (kept). Safe to interrupt, safe
# to repeat; leaves no process behind. DEMO_PORT chooses another port than 8400.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
work=$root/.work/demo
image=$root/.work/image
data=$work/data
port=${DEMO_PORT:-8400}
pinfold=$root/build/pinfold
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
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/parts" "$work/source" "$work/outputs"

# ---- the source package, through apt but beside the host's configuration ----

own_apt() {
	apt-get -qq -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root \
		-o Acquire::Retries=3 "$@"
}

# The host's mirror of Debian as lines of deb-src.
debian_sources() {
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$key" ] && option="[signed-by=$key] " || option=
	"$@" indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
		sed -n "s#^Debian|\([^|]*\)|\([^|]*\)|\(main\)\$#deb-src $option\1 \2 \3#p" | sort -u
}

fetch_source() {
	sources=$work/apt/parts/sources.list
	debian_sources apt-get >"$sources"
	if ! [ -s "$sources" ]; then
		own_apt update || true
		debian_sources own_apt >"$sources"
	fi
	[ -s "$sources" ] || die "apt knows no mirror of Debian; look into /etc/apt/sources.list.d"
	own_apt -o Dir::Etc::sourcelist="$sources" -o Dir::Etc::sourceparts=/dev/null update ||
		die "apt could not read the list of Debian's sources: is there a network?"
	(cd "$work/source" && own_apt -o Dir::Etc::sourcelist="$sources" -o Dir::Etc::sourceparts=/dev/null \
		source --download-only lz4 >../apt.log 2>&1) ||
		die "apt could not fetch the source package of lz4; see $work/apt.log"
}

say "fetching the source package of lz4"
step fetch_source
cd "$work/source"
for part in dsc orig.tar debian.tar; do
	set -- lz4_*."$part"*
	[ -f "$1" ] || die "the source package of lz4 has no $part"
	say "          $1"
	ln "$1" "lz4.$part"
done

# ---- the server ----

cat >"$work/pinfold.yaml" <<END
sandbox:
  image: '$(printf '%s' "$image" | sed "s/'/''/g")'
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
sed 's/^/          /' "$work/server.txt"

# ---- the job ----

say "
pinfold run --prompt-file demo/lz4.puppet
"
step "$pinfold" run --data "$data" --prompt-file "$root/demo/lz4.puppet" --title "lz4 in a sandbox" \
	--outputs "$work/outputs" --file \
	"lz4.dsc:/mnt/session/uploads/lz4.dsc,lz4.orig.tar:/mnt/session/uploads/lz4.orig.tar,lz4.debian.tar:/mnt/session/uploads/lz4.debian.tar" ||
	die "the job did not end well; what the server said is in $work/server.log"
[ -s "$work/outputs/report.md" ] || die "the job wrote no report"

say "
What the agent wrote is in .work/demo/outputs, what the server said in .work/demo/server.log. The server of the demo
ends now; its data stays until the next run. To look further, start it again:
  build/pinfold serve --data .work/demo/data --config .work/demo/pinfold.yaml --listen 127.0.0.1:$port"
