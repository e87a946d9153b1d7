/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data (RFC 7578), incrementally: bytes in, parts out. Strict: the body begins with the
 * delimiter, heads are at most LIM_MULTIPART_HEAD bytes, every part needs a name. Hostile input.
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"

struct multipart_part {
	struct str name, filename, content_type; /* filename.p NULL: a field, not a file */
};

struct multipart_ops {
	void *arg;
	/* <0 stops with that error. */
	int (*on_part)(void *arg, const struct multipart_part *part, struct err *e);
	int (*on_data)(void *arg, struct str piece, struct err *e);
	int (*on_end)(void *arg, struct err *e);
};

struct multipart {
	struct multipart_ops ops;
	char delim[80]; /* "\r\n--" boundary */
	size_t n_delim;
	struct buf carry;
	enum { MULTIPART_START, MULTIPART_HEAD, MULTIPART_DATA, MULTIPART_DONE } state;
};

/* From the request's content-type. ERR_INVALID: not multipart, no boundary. */
int multipart_init(
	struct multipart *m, struct str content_type, const struct multipart_ops *ops, struct err *e);
void multipart_done(struct multipart *m);
int multipart_feed(struct multipart *m, struct str bytes, struct err *e);
/* 0 when the closing delimiter was seen. */
int multipart_finish(const struct multipart *m, struct err *e);
