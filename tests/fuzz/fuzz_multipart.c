/* SPDX-License-Identifier: Apache-2.0 */
/* Parts may not depend on how the bytes arrive, and no content may hold the delimiter. The first line of the
 * input is the content type. */
#include "fuzz.h"

#include "control/multipart.h"

struct seen {
	struct buf text; /* names and contents in order */
	struct buf content;
	unsigned parts;
};

static int
on_part(void *arg, const struct multipart_part *part, struct err *e)
{
	struct seen *x = arg;

	(void)e;
	ASSERT(part->name.n > 0);
	x->parts++;
	buf_put_c(&x->text, '<');
	buf_put_str(&x->text, part->name);
	buf_put_c(&x->text, '|');
	buf_put_str(&x->text, part->filename);
	buf_put_c(&x->text, '>');
	buf_clear(&x->content);
	return 0;
}

static int
on_data(void *arg, struct str piece, struct err *e)
{
	struct seen *x = arg;

	(void)e;
	buf_put_str(&x->content, piece);
	return 0;
}

static int
on_end(void *arg, struct err *e)
{
	struct seen *x = arg;

	(void)e;
	buf_put_str(&x->text, buf_str(&x->content));
	buf_put_c(&x->text, '$');
	return 0;
}

static int
feed(struct str type, struct str in, size_t step, struct seen *x)
{
	struct multipart m;
	struct multipart_ops ops = {.arg = x, .on_part = on_part, .on_data = on_data, .on_end = on_end};
	int r;

	*x = (struct seen){0};
	buf_init(&x->text, 16u << 20);
	buf_init(&x->content, 16u << 20);
	r = multipart_init(&m, type, &ops, NULL);
	for (size_t at = 0; at < in.n && r == 0; at += step)
		r = multipart_feed(&m, str_sub(in, at, step), NULL);
	if (r == 0)
		r = multipart_finish(&m, NULL);
	multipart_done(&m);
	buf_done(&x->content);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = {1, 2, 5, 64};
	struct str in = str_n(data, size);
	struct str type = str_next(&in, '\n');
	struct seen whole, other;

	if (in.p == NULL)
		return 0;
	int r = feed(type, in, in.n ? in.n : 1, &whole);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		int k = feed(type, in, steps[i], &other);

		ASSERT((k == 0) == (r == 0));
		ASSERT(r < 0 || str_eq(buf_str(&whole.text), buf_str(&other.text)));
		buf_done(&other.text);
	}
	buf_done(&whole.text);
	return 0;
}
