/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed byte slices. A `struct str` never owns memory and is not NUL-terminated; it is valid as long as
 * what it points into. Parsers return slices into their input.
 */
#pragma once

#include <string.h>

#include "base/attr.h"

struct str {
	const char *p;
	size_t n;
};

#define STR(lit) ((struct str){"" lit, sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* printf("%.*s", STRF(s)) */
#define STRF(s) (int)(s).n, (s).n ? (s).p : ""

/* A slice over a NUL-terminated string; NULL gives STR_NULL. */
static inline struct str
str_z(const char *z)
{
	return (struct str){z, z ? strlen(z) : 0};
}

/* A slice over [p, p+n). */
static inline struct str
str_n(const void *p, size_t n)
{
	return (struct str){(const char *)p, n};
}

/* Byte-wise equality. */
static inline bool
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Equality with a NUL-terminated string. */
static inline bool
str_eqz(struct str a, const char *z)
{
	return str_eq(a, str_z(z));
}

/* Equality ignoring ASCII case (never locale dependent). */
bool str_eq_nocase(struct str a, struct str b);

/* Ordering by bytes, shorter first: <0, 0, >0. */
int str_cmp(struct str a, struct str b);

/* True when `s` begins / ends with `part`. */
bool str_starts(struct str s, struct str part);
bool str_ends(struct str s, struct str part);

/* Index of the first byte `c` / of `needle`, or s.n when absent. */
size_t str_find(struct str s, char c);
size_t str_find_str(struct str s, struct str needle);

/* The part of `s` from byte `from`, at most `n` bytes; out-of-range values are clamped. */
struct str str_sub(struct str s, size_t from, size_t n);

/* Without ASCII spaces and tabs at both ends. */
struct str str_trim(struct str s);

/* Cuts `s` at the first `sep`: returns the part before it and leaves the rest (after sep) in *s; without sep
 * returns all and leaves *s empty with p == NULL. */
struct str str_next(struct str *s, char sep);

/* Decimal digits only, no sign, no blanks, at least one digit; false on overflow or anything else. */
bool str_to_u64(struct str s, uint64_t *out);
/* The same with an optional leading '-'. */
bool str_to_i64(struct str s, int64_t *out);
/* Hexadecimal digits only, 1..16 of them. */
bool str_to_hex64(struct str s, uint64_t *out);

/* True when `s` is well-formed UTF-8 (no surrogates, no overlong forms, max U+10FFFF). */
bool str_is_utf8(struct str s);

/* Bytes (1..4) of the well-formed UTF-8 sequence at the start of `s`; 0 when there is none. */
size_t str_utf8_seq(struct str s);

/* Number of Unicode code points; `s` must be valid UTF-8. */
size_t str_utf8_len(struct str s);

/* Copies into `dst` of `cap` bytes with a NUL; false (dst = "") when it does not fit or holds a NUL byte. */
bool str_copy_z(struct str s, char *dst, size_t cap);
