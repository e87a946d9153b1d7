/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka with the headers it wants before it, and comparisons of the house's
 * types. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

/* Fails with both texts when the slice is not exactly `z`. */
#define assert_str(s, z)                                                          \
	do {                                                                      \
		struct str got_ = (s);                                            \
		const char *want_ = (z);                                          \
		if (!str_eqz(got_, want_))                                        \
			fail_msg("got \"%.*s\", want \"%s\"", STRF(got_), want_); \
	} while (0)

/* The call failed with -kind and filled `e` accordingly. */
#define assert_err(call, e, want)                   \
	do {                                        \
		assert_int_equal((call), -(want));  \
		assert_int_equal((e).kind, (want)); \
	} while (0)
