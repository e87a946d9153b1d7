/* SPDX-License-Identifier: Apache-2.0 */
#include "alloc_fail.h"

#include <errno.h>
#include <stdlib.h>

static struct {
	unsigned left; /* allocations until the failure; 0: off */
	bool for_ever;
	bool fired;
} plan;

/* The names that ld's --wrap asks for. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t n);

void
alloc_fail_at(unsigned n)
{
	plan.left = n;
	plan.for_ever = false;
	plan.fired = false;
}

void
alloc_fail_from(unsigned n)
{
	alloc_fail_at(n);
	plan.for_ever = true;
}

bool
alloc_fail_stop(void)
{
	plan.left = 0;
	return plan.fired;
}

static bool
refuse(void)
{
	if (plan.left == 0)
		return false;
	if (plan.left > 1) {
		plan.left--;
		return false;
	}
	if (!plan.for_ever)
		plan.left = 0;
	plan.fired = true;
	errno = ENOMEM;
	return true;
}

void *
__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return refuse() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}
