/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of documents: agents, their versions, environments, files, keys.
 */
#include "control/api.h"

static void
on_page(void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more)
{
	struct doc_list *l = arg;
	struct call *k = l->k;
	struct err e = {0};
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = 0; i < n; i++) {
		if (l->put(k, &rows[i].doc, &w, &e) < 0) {
			call_fail(k, &e);
			return;
		}
		l->at.us = rows[i].doc.created_us;
		l->at.key = rows[i].key;
	}
	jw_arr_end(&w);
	if (l->put_tail != NULL)
		l->put_tail(&w, rows, n, more);
	else
		page_next(&w, more, &l->at);
	jw_obj_end(&w);
	call_reply(k);
}

void
doc_list_reply(struct call *k, struct doc_list *l)
{
	l->k = k;
	l->q.has_cursor = l->at.set;
	l->q.cursor_us = l->at.us;
	l->q.cursor_key = l->at.key;
	store_docs(k->c->store, &l->q, on_page, l);
}
