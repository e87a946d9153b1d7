/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tool answers: a text and whether it is an error. Also the wording of file-system errors, which is
 * part of the contract and never names a path that the caller did not give.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"

#define REPLY_MAX (8ull << 20) /* bytes; above every tool's own ceiling */

struct reply {
	bool is_error;
	struct buf text;
};

/* An empty, successful reply. */
void reply_init(struct reply *r);
void reply_done(struct reply *r);
DEFINE_AUTO_DONE(reply, struct reply, reply_done);

/* Replaces the text by a formatted one and marks an error. Always -1, so that a failure site is one line. */
int reply_fail(struct reply *r, const char *fmt, ...) PRINTF_FMT(2, 3);

/* "<prefix><path>: <wording of errno `os`>" as an error. Always -1. */
int reply_fail_fs(struct reply *r, const char *prefix, struct str path, int os);

/* The contract's wording of an errno: "no such file or directory", ..., "i/o error (EIO)". */
void reply_put_errno(struct buf *b, int os);

/* A member that must be a non-empty string: 0, or -1 with "<tool>: <key> is required". */
int reply_want(struct reply *r, const struct json_t *in, const char *tool, const char *key, struct str *out);
