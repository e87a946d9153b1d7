/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names as users write them in lists. Pure text: nothing is resolved.
 */
#pragma once

#include "base/str.h"

enum domain_kind {
	DOMAIN_WEB_FETCH,  /* public host; no path */
	DOMAIN_WEB_SEARCH, /* public host, maybe with a path */
	DOMAIN_HOST,       /* an environment's allowed_hosts: any host name, or *.suffix */
};

/* NULL when `s` is acceptable, else the message that says why not (static). */
const char *domain_refusal(struct str s, enum domain_kind kind);

/* Same entry: ASCII case and one trailing slash do not count. */
bool domain_equal(struct str a, struct str b);

/* The host part of "scheme://host[:port]/…" or of "host/path"; empty when there is none. */
struct str domain_host(struct str url);

/* Whether an allowed_hosts entry covers a host: the same name, or a name below a *.suffix. */
bool domain_covers(struct str entry, struct str host);
