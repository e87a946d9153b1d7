/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandbox images: an unpacked root filesystem in a directory. image_build makes one with mmdebstrap; any
 * unpacked OCI image will do as well. Used by the CLI, as root, blocking; nothing here is part of the running
 * role.
 *
 *   <images_dir>/<name>            a link to the version in use, replaced atomically at the end of a build
 *   <images_dir>/.<name>-<number>/ a version: rootfs/ and manifest.json. The version before is kept, because
 * sandboxes may still run on it <images_dir>/.build-<name>/    a build under way (locked); what an
 * interrupted one left is removed by the next
 */
#pragma once

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "hands/config.h"

struct image_opts {
	const char *images_dir; /* made when missing */
	const char *name;       /* a plain name: hands_name_ok */
	const char *suite;      /* Debian suite; NULL: "bookworm" */
	/* More packages for apt, NULL-terminated; NULL: none. */
	const char *const *packages;
	/* Called with each line of progress, for a person; may be NULL. */
	void (*progress)(void *arg, struct str line);
	void *arg;
};

/* Builds an image. ERR_INVALID (name), ERR_CONFLICT (another build of this name runs), ERR_UNAVAILABLE
 * (mmdebstrap is missing or failed: the message has its last words), ERR_IO. A failed build leaves the image
 * as it was. */
int image_build(const struct image_opts *o, struct err *e);

struct image_info {
	char name[HANDS_NAME_MAX];
	char rootfs[HANDS_PATH];
	char suite[32];      /* "" : not made by image_build */
	char hash[HASH_HEX]; /* of the package list; "" as above */
	uint64_t created_us; /* wall */
	uint64_t bytes;      /* disk use when it was built */
	uint64_t packages;   /* how many */
};

/* What is known of one image. ERR_NOT_FOUND. */
int image_get(const char *images_dir, const char *name, struct image_info *out, struct err *e);
/* Calls `each` for every image, in no order. A missing directory has none. */
int image_list(const char *images_dir, void (*each)(void *arg, const struct image_info *i), void *arg,
	struct err *e);
/* Removes the link and all versions. The caller makes sure that no sandbox uses them. */
int image_remove(const char *images_dir, const char *name, struct err *e);

/* ---- parts, for tests ---- */

/*
 * From the host's apt sources (one-line or deb822 text) picks the entries for `suite` (the suite itself,
 * -updates, -security) with component "main", and appends one-line entries to `out`: options such as
 * signed-by are kept. Lines that cannot be understood are skipped. Returns how many.
 */
struct buf;
size_t image_pick_sources(struct str text, bool deb822, const char *suite, struct buf *out);
/* From `apt-config dump` keeps what downloads need on this host: proxies, certificate and date checks,
 * retries. */
void image_pick_apt_config(struct str dump, struct buf *out);
