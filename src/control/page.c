/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cursors: "page_" and hexadecimal of kind, order, direction, time and key. Opaque to clients; a cursor of
 * another list or order is refused.
 */
#include "control/api.h"

#define PAGE_DIGITS 38

void
page_format(const struct page_cursor *c, char out[PAGE_TEXT_MAX])
{
	struct buf b;
	buf_init(&b, PAGE_TEXT_MAX - 1);
	buf_printf(&b, "page_%02x%02x%02x%016llx%016llx", c->kind, c->ascending, c->backwards,
		(unsigned long long)c->us, (unsigned long long)c->key);
	(void)str_copy_z(buf_str(&b), out, PAGE_TEXT_MAX);
	buf_done(&b);
}

static bool
digits(struct str *s, size_t n, uint64_t *out)
{
	struct str d = str_sub(*s, 0, n);
	*s = str_sub(*s, n, s->n);
	return d.n == n && str_to_hex64(d, out);
}

int
page_read(struct str s, uint8_t kind, struct page_cursor *out, struct err *e)
{
	*out = (struct page_cursor){.kind = kind};
	if (s.n == 0)
		return 0;
	uint64_t v[3] = {0};
	bool ok = str_starts(s, STR("page_")) && s.n == 5 + PAGE_DIGITS;
	s = str_sub(s, 5, s.n);
	for (size_t i = 0; ok && i < 3; i++)
		ok = digits(&s, 2, &v[i]);
	ok = ok && digits(&s, 16, &out->us) && digits(&s, 16, &out->key);
	if (!ok || v[0] != kind || v[1] > 1 || v[2] > 1)
		return err_set(e, ERR_INVALID, "page: not a cursor of this list");
	out->ascending = (uint8_t)v[1];
	out->backwards = (uint8_t)v[2];
	out->set = true;
	return 0;
}

int
page_parse(const struct call *k, uint8_t kind, struct page_cursor *out, struct err *e)
{
	return page_read(call_query(k, "page"), kind, out, e);
}

void
page_next(struct json_w *w, bool more, const struct page_cursor *at)
{
	char text[PAGE_TEXT_MAX];
	page_format(at, text);
	jw_kz(w, "next_page", more ? text : NULL);
}
