/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct row {
	const char *name;
	const char *type;
	int http;
	int exit;
};

static const struct row rows[ERR_COUNT] = {[ERR_NONE] = {"NONE", "api_error", 200, 0},
#define X(kind, http_, exit_, type_) [ERR_##kind] = {#kind, type_, http_, exit_},
	ERR_KINDS(X)
#undef X
};

static const struct row *
row_of(enum err_kind kind)
{
	return kind < ERR_COUNT ? &rows[kind] : &rows[ERR_INTERNAL];
}

/* A cut message must stay valid UTF-8: drops a sequence whose tail is missing. */
static void
trim_partial(char *msg, size_t n)
{
	size_t back = 0;

	while (back < 3 && back < n && ((unsigned char)msg[n - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back == n)
		return;
	unsigned char lead = (unsigned char)msg[n - 1 - back];
	size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
	if (want > back)
		msg[n - 1 - back] = '\0';
}

/* Formats into a buffer of ERR_MSG_MAX bytes; the length is what was kept. */
PRINTF_FMT(2, 0)
static size_t
format(char *msg, const char *fmt, va_list ap)
{
	int n = vsnprintf(msg, ERR_MSG_MAX, fmt, ap);

	if (n < 0) {
		msg[0] = '\0';
		return 0;
	}
	if ((size_t)n < ERR_MSG_MAX)
		return (size_t)n;
	trim_partial(msg, ERR_MSG_MAX - 1);
	return strlen(msg);
}

static void
append(char *msg, size_t n, const char *more)
{
	size_t room = ERR_MSG_MAX - 1 - n;
	size_t add = strlen(more);
	bool cut = add > room;

	if (cut)
		add = room;
	memcpy(msg + n, more, add);
	msg[n + add] = '\0';
	if (cut)
		trim_partial(msg, n + add);
}

/* The message is made aside, because arguments may point into the old one. */
PRINTF_FMT(3, 0)
static int
fill(struct err *e, const struct err *site, const char *fmt, va_list ap)
{
	char msg[ERR_MSG_MAX];

	ASSERT(site->kind > ERR_NONE && site->kind < ERR_COUNT);
	if (!e)
		return -(int)site->kind;
	size_t n = format(msg, fmt, ap);
	if (site->os && n < ERR_MSG_MAX - 1) {
		const char *text = strerrordesc_np(site->os);
		append(msg, n, ": ");
		append(msg, strlen(msg), text ? text : "unknown error");
	}
	e->kind = site->kind;
	e->os = site->os;
	e->where = site->where;
	e->code = site->code;
	memcpy(e->msg, msg, strlen(msg) + 1);
	return -(int)site->kind;
}

int
err_set_at(struct err *e, enum err_kind kind, int os, const char *where, const char *fmt, ...)
{
	struct err site = {.kind = kind, .where = where};
	va_list ap;

	va_start(ap, fmt);
	int r = fill(e, &site, fmt, ap);
	va_end(ap);
	if (e)
		e->os = os;
	return r;
}

int
err_code_at(struct err *e, enum err_kind kind, const char *code, const char *where, const char *fmt, ...)
{
	struct err site = {.kind = kind, .code = code, .where = where};
	va_list ap;

	va_start(ap, fmt);
	int r = fill(e, &site, fmt, ap);
	va_end(ap);
	return r;
}

int
err_os_at(struct err *e, const char *where, const char *fmt, ...)
{
	int keep = errno;
	struct err site = {.kind = keep == ENOMEM ? ERR_NO_MEMORY : ERR_IO, .os = keep, .where = where};
	va_list ap;

	va_start(ap, fmt);
	int r = fill(e, &site, fmt, ap);
	va_end(ap);
	errno = keep;
	return r;
}

int
err_wrap(struct err *e, const char *fmt, ...)
{
	char msg[ERR_MSG_MAX];
	va_list ap;

	if (!e)
		return -ERR_INTERNAL;
	va_start(ap, fmt);
	size_t n = format(msg, fmt, ap);
	va_end(ap);
	append(msg, n, ": ");
	append(msg, strlen(msg), e->msg);
	memcpy(e->msg, msg, strlen(msg) + 1);
	return -(int)e->kind;
}

int
err_http_status(enum err_kind kind)
{
	return row_of(kind)->http;
}

int
err_exit_code(enum err_kind kind)
{
	return row_of(kind)->exit;
}

const char *
err_api_type(enum err_kind kind)
{
	return row_of(kind)->type;
}

const char *
err_kind_name(enum err_kind kind)
{
	return row_of(kind)->name;
}
