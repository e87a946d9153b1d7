/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Monotonic microseconds for durations, wall microseconds since 1970 for what is stored. Tests may
 * install a virtual clock; nothing else in the tree reads the clock by other means.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Microseconds since some point in the past, never backwards: for durations and deadlines. */
uint64_t clock_mono_us(void);

/* Microseconds since 1970, UTC; the administrator may set it back. */
uint64_t clock_wall_us(void);

/* Tests only: freezes both clocks at these values until called with (0, 0). */
void clock_fake(uint64_t mono_us, uint64_t wall_us);

#define TIME_TEXT_MAX 32
/* "2026-10-09T14:01:45.123456Z" into dst (TIME_TEXT_MAX bytes); returns dst. */
char *time_format(uint64_t wall_us, char *dst);

/* RFC 3339 with 'Z' or a numeric offset, 0..9 fraction digits (those after the sixth are dropped), the
 * years 1970 to 9999 in UTC. ERR_INVALID. */
int time_parse(struct str s, uint64_t *wall_us, struct err *e);
