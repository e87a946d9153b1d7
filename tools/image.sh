#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the base image of the sandboxes where tests, bench and demo find it, once. `pinfold image build` itself
# puts a finished image in its place in one step, so an interrupted build leaves none.
set -eu
cd "$(dirname "$0")/.."
image=${PINFOLD_IMAGE_DIR:-.work/image}
if [ -d "$image/rootfs" ] || [ -d "$image/usr" ]; then
	exit 0
fi
if [ "$(realpath -ms "$image")" != "$PWD/.work/image" ]; then
	echo "image: PINFOLD_IMAGE_DIR=$image is no image"
	exit 3
fi
pinfold=${PINFOLD:-build/pinfold}
if ! "$pinfold" image --help >/dev/null 2>&1; then
	echo "image: $pinfold is missing or cannot build images"
	exit 3
fi
"$pinfold" image build --dir "$PWD/.work/images"
ln -sfn images/default .work/image
