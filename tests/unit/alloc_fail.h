/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation failures on demand. A test that links dep_alloc_fail (tests/unit/meson.build) gets malloc,
 * calloc and realloc of all statically linked code wrapped; libraries loaded at run time are not touched.
 *
 *   for (unsigned n = 1; n < 1000; n++) {
 *           alloc_fail_at(n);
 *           int r = work();
 *           if (!alloc_fail_stop())
 *                   break;          // it needs fewer than n allocations: all were tried
 *           assert_int_equal(r, -ERR_NO_MEMORY);
 *   }
 */
#pragma once

#include <stdbool.h>

/* The `n`th allocation of this process from now on (1: the next) fails, once. 0: none. */
void alloc_fail_at(unsigned n);

/* As alloc_fail_at, but all later ones fail too. */
void alloc_fail_from(unsigned n);

/* Ends the failing; true when one was made. */
bool alloc_fail_stop(void);
