/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/text.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* What may follow a lead byte: how many continuation bytes, and the range of the first of them. */
struct lead {
	unsigned more;
	unsigned char low, high;
};

static struct lead
lead_of(unsigned char c)
{
	if (c >= 0xc2 && c <= 0xdf)
		return (struct lead){1, 0x80, 0xbf};
	if (c == 0xe0)
		return (struct lead){2, 0xa0, 0xbf};
	if (c == 0xed)
		return (struct lead){2, 0x80, 0x9f};
	if (c >= 0xe1 && c <= 0xef)
		return (struct lead){2, 0x80, 0xbf};
	if (c == 0xf0)
		return (struct lead){3, 0x90, 0xbf};
	if (c == 0xf4)
		return (struct lead){3, 0x80, 0x8f};
	if (c >= 0xf1 && c <= 0xf3)
		return (struct lead){3, 0x80, 0xbf};
	return (struct lead){0, 0, 0};
}

/* Length of the sequence at the start of `s`; *ok tells whether it is a character. At least 1. */
static size_t
sequence(struct str s, bool *ok)
{
	unsigned char c = (unsigned char)s.p[0];
	struct lead l = lead_of(c);
	size_t n = 1;

	*ok = c < 0x80;
	if (l.more == 0)
		return 1;
	while (n <= l.more && n < s.n) {
		unsigned char d = (unsigned char)s.p[n];
		if (d < (n == 1 ? l.low : 0x80) || d > (n == 1 ? l.high : 0xbf))
			return n;
		n++;
	}
	*ok = n == l.more + 1;
	return n;
}

void
text_put_valid(struct buf *b, struct str s)
{
	size_t from = 0;

	if (str_is_utf8(s)) {
		buf_put_str(b, s);
		return;
	}
	for (size_t i = 0; i < s.n;) {
		bool ok;
		size_t n = sequence((struct str){s.p + i, s.n - i}, &ok);
		if (!ok) {
			buf_put(b, s.p + from, i - from);
			buf_put(b, REPLACEMENT, 3);
			from = i + n;
		}
		i += n;
	}
	buf_put(b, s.p + from, s.n - from);
}

/* Bytes and units of the character that begins with `c` in valid UTF-8. */
static size_t
char_bytes(unsigned char c)
{
	return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

size_t
text_units(struct str s)
{
	size_t units = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		units += ((c & 0xc0) != 0x80) + (c >= 0xf0);
	}
	return units;
}

size_t
text_at_unit(struct str s, size_t units, bool *split)
{
	size_t at = 0, seen = 0;

	while (at < s.n && seen < units) {
		unsigned char c = (unsigned char)s.p[at];
		seen += c >= 0xf0 ? 2 : 1;
		at += char_bytes(c);
	}
	*split = seen > units;
	return at;
}

size_t
text_at_char(struct str s, size_t chars)
{
	size_t at = 0;

	while (at < s.n && chars--)
		at += char_bytes((unsigned char)s.p[at]);
	return at < s.n ? at : s.n;
}

/* Length of the control sequence at the start of `s`, or 0. */
static size_t
control_sequence(struct str s)
{
	size_t i = 2;

	if (s.n < 3 || s.p[0] != '\x1b' || s.p[1] != '[')
		return 0;
	while (i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == ';' || s.p[i] == '?'))
		i++;
	while (i < s.n && s.p[i] >= ' ' && s.p[i] <= '/')
		i++;
	return i < s.n && s.p[i] >= '@' && s.p[i] <= '~' ? i + 1 : 0;
}

void
text_put_plain(struct buf *b, struct str s)
{
	while (s.n) {
		size_t esc = str_find(s, '\x1b');
		buf_put(b, s.p, esc);
		s = str_sub(s, esc, s.n);
		if (s.n == 0)
			break;
		size_t n = control_sequence(s);
		if (n == 0) {
			buf_put_c(b, s.p[0]);
			n = 1;
		}
		s = str_sub(s, n, s.n);
	}
}

struct str
text_chomp(struct str s)
{
	while (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	return s;
}
