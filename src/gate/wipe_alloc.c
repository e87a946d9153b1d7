/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/wipe_alloc.h"

#include <curl/curl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

static void *
wipe_malloc(size_t n)
{
	return malloc(n);
}

static void
wipe_free(void *p)
{
	if (!p)
		return;
	secret_wipe(p, malloc_usable_size(p));
	free(p);
}

/* Never in place or moved by realloc itself: a move would leave the old bytes. */
static void *
wipe_realloc(void *p, size_t n)
{
	size_t had = p ? malloc_usable_size(p) : 0;

	if (p && n && n <= had && had / 2 <= n)
		return p;
	void *q = malloc(n ? n : 1);

	if (!q)
		return NULL;
	if (p)
		memcpy(q, p, had < n ? had : n);
	wipe_free(p);
	return q;
}

static char *
wipe_strdup(const char *z)
{
	return strdup(z);
}

static void *
wipe_calloc(size_t n, size_t size)
{
	return calloc(n, size);
}

int
wipe_alloc_install(void)
{
	return (int)curl_global_init_mem(
		CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free, wipe_realloc, wipe_strdup, wipe_calloc);
}
