#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# demo/fetch-source.sh PACKAGE DIR: the source package of a Debian package as DIR/PACKAGE.dsc, .orig.tar and
# .debian.tar, through apt and this host's mirror. Lists and cache are in DIR/.apt: the host's apt is not touched.
set -eu
package=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
apt=$dir/.apt
log=$apt/log

die() {
	printf 'fetch-source: %s\n' "$*" >&2
	exit 1
}

own_apt() {
	apt-get -qq -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root \
		-o Acquire::Retries=3 "$@"
}

# The mirror of Debian that this host's apt uses, as lines of deb-src. $@: the apt that has read its lists.
debian_sources() {
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$key" ] && option="[signed-by=$key] " || option=
	# shellcheck disable=SC2016
	"$@" indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
		sed -n "s#^Debian|\([^|]*\)|\([^|]*\)|main\$#deb-src $option\1 \2 main#p" | sort -u
}

rm -rf "$apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/package"
debian_sources apt-get >"$apt/sources.list"
if ! [ -s "$apt/sources.list" ]; then
	own_apt update >>"$log" 2>&1 || true
	debian_sources own_apt >"$apt/sources.list"
fi
[ -s "$apt/sources.list" ] || die "apt knows no mirror of Debian; look into /etc/apt"
set -- -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
own_apt "$@" update >>"$log" 2>&1 || die "apt cannot read the list of Debian's sources: is there a network? ($log)"
cd "$apt/package"
own_apt "$@" source --download-only "$package" >>"$log" 2>&1 || die "apt cannot fetch the source of $package ($log)"
for part in orig.tar debian.tar dsc; do
	for file in "$package"_*."$part"*; do
		case $file in *.asc) continue ;; esac
		[ -f "$file" ] || die "the source package of $package has no $part"
		mv "$file" "$dir/$package.$part"
	done
done
