/* SPDX-License-Identifier: Apache-2.0 */
#include "store/heads.h"

static struct head *
slot_of(struct heads *h, struct str id)
{
	uint64_t x = 1469598103934665603u; /* FNV-1a */

	for (size_t i = 0; i < id.n; i++)
		x = (x ^ (uint8_t)id.p[i]) * 1099511628211u;
	return &h->slot[(x >> 32 ^ x) % HEADS_SLOTS];
}

static int
write_back(struct db *db, struct head *s, struct err *e)
{
	if (s->dirty) {
		AUTO(q) struct q q = q_start(db, SQL_HEAD_SET);
		q_u64(&q, s->last_seq);
		q_u64(&q, s->epoch);
		q_blob(&q, str_n(s->hash.b, HASH_BYTES));
		q_u64(&q, s->key);
		int r = q_run(&q, e);
		if (r < 0)
			return r;
		s->dirty = false;
	}
	if (s->dirty_status) {
		AUTO(q) struct q q = q_start(db, SQL_HEAD_SET_STATUS);
		q_u64(&q, s->status);
		q_u64(&q, s->archived);
		q_u64(&q, s->waiting);
		q_u64(&q, s->key);
		int r = q_run(&q, e);
		if (r < 0)
			return r;
		s->dirty_status = false;
	}
	return 0;
}

static int
read_head(struct db *db, struct str id, struct head *out, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_HEAD_GET);

	q_str(&q, id);
	int r = q_step(&q, e);
	if (r <= 0)
		return r;
	struct head v = {.id = id_from(id),
		.key = q_col_u64(&q, 0),
		.last_seq = (uint32_t)q_col_u64(&q, 1),
		.epoch = q_col_u64(&q, 2),
		.status = (uint8_t)q_col_u64(&q, 3),
		.archived = (uint8_t)q_col_u64(&q, 4),
		.waiting = (uint32_t)q_col_u64(&q, 5)};
	struct str hash = q_col_str(&q, 6);
	r = q_check(&q, e);
	if (r < 0)
		return r;
	if (hash.n != HASH_BYTES)
		return err_set(e, ERR_CORRUPT, "session %.*s: bad head hash", STRF(id));
	memcpy(v.hash.b, hash.p, HASH_BYTES);
	*out = v;
	return 1;
}

int
heads_get(struct heads *h, struct db *db, struct str id, struct head **out, struct err *e)
{
	struct head *s = slot_of(h, id);
	struct head v;

	if (id.n == 0 || id.n >= ID_MAX)
		return 0;
	if (str_eq(id_str(&s->id), id)) {
		*out = s;
		return 1;
	}
	int r = read_head(db, id, &v, e);
	if (r <= 0)
		return r;
	r = write_back(db, s, e);
	if (r < 0)
		return r;
	*s = v;
	*out = s;
	return 1;
}

int
heads_put(struct heads *h, struct db *db, const struct head *value, struct head **out, struct err *e)
{
	struct head *s = slot_of(h, id_str(&value->id));
	int r = write_back(db, s, e);

	if (r < 0)
		return r;
	*s = *value;
	*out = s;
	return 0;
}

void
heads_change(struct head *slot, const struct head *value)
{
	bool status = slot->status != value->status || slot->archived != value->archived ||
		      slot->waiting != value->waiting;
	bool dirty = slot->dirty || slot->last_seq != value->last_seq || slot->epoch != value->epoch;

	status = status || slot->dirty_status;
	*slot = *value;
	slot->dirty = dirty;
	slot->dirty_status = status;
}

void
heads_drop(struct head *slot)
{
	*slot = (struct head){0};
}

int
heads_flush(struct heads *h, struct db *db, struct err *e)
{
	for (size_t i = 0; i < HEADS_SLOTS; i++) {
		int r = write_back(db, &h->slot[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

void
heads_clear(struct heads *h)
{
	for (size_t i = 0; i < HEADS_SLOTS; i++)
		h->slot[i] = (struct head){0};
}
