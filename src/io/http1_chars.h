/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of io/http1: which byte may stand where. */
#pragma once

#include "base/str.h"

/* Classes of bytes. */
enum {
	C_TOKEN = 1,  /* tchar of RFC 9110 */
	C_VALUE = 2,  /* visible ASCII, blank, tab */
	C_TARGET = 4, /* visible ASCII but '#' */
	C_HOST = 8,   /* of a Host value: name or address literal, port */
	C_HEX = 16,
	C_UPPER = 32,
	C_HIGH = 64, /* 0x80.. */
};

extern const uint8_t http1_classes[256];

/* The byte is of one of these classes. */
static inline bool
http1_is(char c, unsigned class)
{
	return (http1_classes[(unsigned char)c] & class) != 0;
}

/* Length of the run of bytes of that class at the start of `s`. */
static inline size_t
http1_run(struct str s, unsigned class)
{
	size_t i = 0;

	while (i < s.n && http1_is(s.p[i], class))
		i++;
	return i;
}

/* All bytes are of one of these classes; true for none. */
static inline bool
http1_all(struct str s, unsigned class)
{
	return http1_run(s, class) == s.n;
}
