/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owned strings inside folds: heap copies held in a struct str. A NULL pointer (JSON null, or absent) stays
 * NULL. For this folder only.
 */
#pragma once

#include <stdlib.h>

#include "base/err.h"
#include "base/str.h"

/* Frees and sets to STR_NULL. */
static inline void
own_free(struct str *s)
{
	free((void *)(uintptr_t)s->p);
	*s = STR_NULL;
}

/* Replaces *to by a NUL-terminated copy of `from`. ERR_NO_MEMORY leaves *to as it is. */
static inline int
own_set(struct str *to, struct str from, struct err *e)
{
	char *p = NULL;
	if (from.p != NULL) {
		p = malloc(from.n + 1);
		if (p == NULL)
			return err_set(e, ERR_NO_MEMORY, "out of memory");
		if (from.n > 0)
			memcpy(p, from.p, from.n);
		p[from.n] = 0;
	}
	own_free(to);
	*to = (struct str){p, from.n};
	return 0;
}
