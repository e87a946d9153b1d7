/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is built on the stack, so that logging works without memory and after fork. A line that would grow
 * over LINE_MAX_BYTES is cut: the value at hand is shortened, the members after it are left out, "cut":true
 * says so.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 8192
#define TAIL           16 /* kept free for: quote, ,"cut":true and the end */

/* Set once while the process starts: the one global state that real processes change. */
static struct {
	const char *role;
	enum log_level least;
	int fd;
} sink = {.role = "pinfold", .least = LOG_INFO, .fd = STDERR_FILENO};

struct line {
	char p[LINE_MAX_BYTES];
	size_t n;
	bool cut; /* sticky: what follows is ignored */
};

static void
put(struct line *l, struct str s)
{
	if (l->cut || s.n > sizeof(l->p) - TAIL - l->n) {
		l->cut = true;
		return;
	}
	if (s.n)
		memcpy(l->p + l->n, s.p, s.n);
	l->n += s.n;
}

static void
put_int(struct line *l, int64_t v)
{
	char z[24];
	size_t at = sizeof(z);
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	do {
		z[--at] = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		z[--at] = '-';
	put(l, str_n(z + at, sizeof(z) - at));
}

/* The code point of a well-formed sequence of `n` bytes. */
static uint32_t
decode(const char *p, size_t n)
{
	static const uint8_t mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t cp = (unsigned char)p[0] & mask[n];

	for (size_t i = 1; i < n; i++)
		cp = cp << 6 | ((unsigned char)p[i] & 0x3fu);
	return cp;
}

/* Characters that could steer a terminal or reorder the line for its reader. */
static bool
is_unsafe(uint32_t cp)
{
	bool control = cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
	bool quote = cp == '"' || cp == '\\';
	bool direction = cp == 0x200e || cp == 0x200f || (cp >= 0x2028 && cp <= 0x202e) ||
			 (cp >= 0x2066 && cp <= 0x2069);

	return control || quote || direction;
}

static void
put_unsafe(struct line *l, uint32_t cp)
{
	static const char digits[] = "0123456789abcdef";
	char six[] = {'\\', 'u', digits[cp >> 12 & 15], digits[cp >> 8 & 15], digits[cp >> 4 & 15],
		digits[cp & 15]};
	char two[] = {'\\', (char)cp};

	if (cp == '"' || cp == '\\')
		put(l, str_n(two, sizeof(two)));
	else if (cp == '\n')
		put(l, STR("\\n"));
	else
		put(l, str_n(six, sizeof(six)));
}

/* One character at a time: log lines are short and never on a hot path. */
static void
put_text(struct line *l, struct str s)
{
	put(l, STR("\""));
	bool begun = !l->cut;
	while (s.n && !l->cut) {
		size_t n = str_utf8_seq(s);
		uint32_t cp = n ? decode(s.p, n) : 0xfffd;
		if (n == 0)
			put(l, STR("\xef\xbf\xbd"));
		else if (is_unsafe(cp))
			put_unsafe(l, cp);
		else
			put(l, str_n(s.p, n));
		s = str_sub(s, n ? n : 1, s.n);
	}
	/* The quote fits in the tail even when the text was cut. */
	if (begun)
		l->p[l->n++] = '"';
}

/* ,"key": or nothing when not even the key and a short value fit. */
static bool
put_key(struct line *l, const char *key)
{
	struct str k = str_z(key);

	if (k.n + 32 > sizeof(l->p) - TAIL - l->n)
		l->cut = true;
	if (l->cut)
		return false;
	put(l, STR(",\""));
	put(l, k);
	put(l, STR("\":"));
	return true;
}

static void
put_str_member(struct line *l, const char *key, struct str s)
{
	if (!put_key(l, key))
		return;
	if (s.p)
		put_text(l, s);
	else
		put(l, STR("null"));
}

static void
put_int_member(struct line *l, const char *key, int64_t v)
{
	if (put_key(l, key))
		put_int(l, v);
}

static void
put_err(struct line *l, const struct err *e)
{
	put_str_member(l, "error", str_z(e->msg));
	put_str_member(l, "error_kind", str_z(err_kind_name(e->kind)));
	if (e->code)
		put_str_member(l, "error_code", str_z(e->code));
	if (e->os)
		put_int_member(l, "errno", e->os);
	if (e->where)
		put_str_member(l, "where", str_z(e->where));
}

static void
put_kv(struct line *l, const struct log_kv *kv)
{
	switch (kv->type) {
	case LOG_T_STR:
		put_str_member(l, kv->key, kv->s);
		return;
	case LOG_T_INT:
		put_int_member(l, kv->key, kv->i);
		return;
	case LOG_T_ERR:
		put_err(l, kv->e);
		return;
	case LOG_T_END:
		return;
	}
	UNREACHABLE();
}

void
log_setup(const char *role, enum log_level least, int fd)
{
	sink.role = role;
	sink.least = least;
	sink.fd = fd;
}

void
log_write(enum log_level level, const char *event, ...)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	int keep = errno;
	char ts[TIME_TEXT_MAX];
	struct line l;
	va_list ap;

	if (level < sink.least)
		return;
	l.n = 0;
	l.cut = false;
	put(&l, STR("{\"ts\":"));
	put_text(&l, str_z(time_format(clock_wall_us(), ts)));
	put_str_member(&l, "level", str_z(names[level]));
	put_str_member(&l, "role", str_z(sink.role));
	put_str_member(&l, "event", str_z(event));
	va_start(ap, event);
	for (struct log_kv kv = va_arg(ap, struct log_kv); kv.type != LOG_T_END;
		kv = va_arg(ap, struct log_kv))
		put_kv(&l, &kv);
	va_end(ap);
	struct str end = l.cut ? STR(",\"cut\":true}\n") : STR("}\n");
	memcpy(l.p + l.n, end.p, end.n);
	/* A log that cannot be written is nobody's to report. */
	ssize_t n = write(sink.fd, l.p, l.n + end.n);
	(void)n;
	errno = keep;
}
