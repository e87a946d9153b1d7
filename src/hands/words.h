/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sandbox's runtime and guest print on their standard streams: drained for ever, logged up to a limit,
 * and the end of it kept for the message of a start that fails. Bytes are hostile: only printable ASCII is
 * passed on.
 */
#pragma once

#include "io/loop.h"

struct words;

/* Makes the pipe; *write_end is the caller's. `name` (copied) is the sandbox in the log. ERR_IO,
 * ERR_NO_MEMORY. */
int words_new(struct words **out, struct loop *l, const char *name, int *write_end, struct err *e);
void words_free(struct words *w);
/* The last line or two that were printed, reading what is in the pipe first. Borrowed. */
const char *words_tail(struct words *w);
