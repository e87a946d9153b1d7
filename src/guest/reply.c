/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/reply.h"

#include <errno.h>
#include <string.h>

void
reply_init(struct reply *r)
{
	r->is_error = false;
	buf_init(&r->text, REPLY_MAX);
}

void
reply_done(struct reply *r)
{
	buf_done(&r->text);
}

int
reply_fail(struct reply *r, const char *fmt, ...)
{
	va_list ap;

	r->is_error = true;
	buf_clear(&r->text);
	va_start(ap, fmt);
	buf_vprintf(&r->text, fmt, ap);
	va_end(ap);
	return -1;
}

void
reply_put_errno(struct buf *b, int os)
{
	static const struct {
		int os;
		const char *text;
	} words[] = {
		{ENOENT, "no such file or directory"},
		{EACCES, "permission denied"},
		{EPERM, "permission denied"},
		{ENOTDIR, "not a directory"},
		{EISDIR, "is a directory"},
		{ELOOP, "too many levels of symbolic links"},
		{ENAMETOOLONG, "file name too long"},
		{ENOSPC, "no space left on device"},
		{EMFILE, "too many open files"},
		{ENFILE, "too many open files"},
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (words[i].os == os) {
			buf_put_z(b, words[i].text);
			return;
		}
	}
	const char *name = strerrorname_np(os);
	if (name)
		buf_printf(b, "i/o error (%s)", name);
	else
		buf_put_z(b, "i/o error");
}

int
reply_fail_fs(struct reply *r, const char *prefix, struct str path, int os)
{
	reply_fail(r, "%s%.*s: ", prefix, STRF(path));
	reply_put_errno(&r->text, os);
	return -1;
}

int
reply_want(struct reply *r, const struct json_t *in, const char *tool, const char *key, struct str *out)
{
	struct str s = json_get_str(in, key);

	if (s.n == 0)
		return reply_fail(r, "%s: %s is required", tool, key);
	*out = s;
	return 0;
}
