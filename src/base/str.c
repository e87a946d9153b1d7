/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

static unsigned char
lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? (unsigned char)(u + 32) : u;
}

bool
str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

int
str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int d = n ? memcmp(a.p, b.p, n) : 0;

	if (d)
		return d;
	return a.n < b.n ? -1 : a.n > b.n;
}

bool
str_starts(struct str s, struct str part)
{
	return s.n >= part.n && str_eq(str_n(s.p, part.n), part);
}

bool
str_ends(struct str s, struct str part)
{
	return s.n >= part.n && (part.n == 0 || memcmp(s.p + (s.n - part.n), part.p, part.n) == 0);
}

size_t
str_find(struct str s, char c)
{
	const char *hit = s.n ? memchr(s.p, c, s.n) : NULL;

	return hit ? (size_t)(hit - s.p) : s.n;
}

size_t
str_find_str(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	const char *hit = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
	return hit ? (size_t)(hit - s.p) : s.n;
}

struct str
str_sub(struct str s, size_t from, size_t n)
{
	if (from > s.n)
		from = s.n;
	if (n > s.n - from)
		n = s.n - from;
	return (struct str){s.p ? s.p + from : NULL, n};
}

struct str
str_trim(struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

struct str
str_next(struct str *s, char sep)
{
	size_t at = str_find(*s, sep);
	struct str head = {s->p, at};

	*s = at < s->n ? (struct str){s->p + at + 1, s->n - at - 1} : STR_NULL;
	return head;
}

bool
str_to_u64(struct str s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
		if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
			return false;
	}
	*out = v;
	return true;
}

bool
str_to_i64(struct str s, int64_t *out)
{
	bool minus = s.n && s.p[0] == '-';
	uint64_t v;

	if (!str_to_u64(minus ? str_sub(s, 1, s.n) : s, &v) || v > (uint64_t)INT64_MAX + minus)
		return false;
	*out = (int64_t)(minus ? 0 - v : v);
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
str_to_hex64(struct str s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 16)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		int d = hex_digit(s.p[i]);
		if (d < 0)
			return false;
		v = v << 4 | (uint64_t)d;
	}
	*out = v;
	return true;
}

static bool
is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Bytes of the sequence that `lead` begins; 0 when it begins none (a tail, C0, C1, F5 and up). */
static size_t
seq_len(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The second byte tells overlong forms, surrogates and what lies beyond U+10FFFF. */
static bool
second_fits(unsigned char lead, unsigned char second)
{
	unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	return second >= low && second <= high;
}

size_t
str_utf8_seq(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.n ? seq_len(p[0]) : 0;

	if (n > s.n || (n > 1 && !second_fits(p[0], p[1])))
		return 0;
	for (size_t i = 2; i < n; i++)
		if (!is_tail(p[i]))
			return 0;
	return n;
}

bool
str_is_utf8(struct str s)
{
	const uint64_t high = 0x8080808080808080u;

	while (s.n) {
		uint64_t word;
		size_t step = 8;
		if (s.n >= 8 && (memcpy(&word, s.p, 8), (word & high) == 0)) {
			s = str_sub(s, step, s.n);
			continue;
		}
		step = str_utf8_seq(s);
		if (step == 0)
			return false;
		s = str_sub(s, step, s.n);
	}
	return true;
}

size_t
str_utf8_len(struct str s)
{
	size_t len = 0;

	for (size_t i = 0; i < s.n; i++)
		len += !is_tail((unsigned char)s.p[i]);
	return len;
}

bool
str_copy_z(struct str s, char *dst, size_t cap)
{
	if (s.n >= cap || str_find(s, '\0') != s.n) {
		if (cap)
			dst[0] = '\0';
		return false;
	}
	if (s.n)
		memcpy(dst, s.p, s.n);
	dst[s.n] = '\0';
	return true;
}
