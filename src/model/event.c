/* SPDX-License-Identifier: Apache-2.0 */
#include "model/event.h"

#include "base/clock.h"

#define FACTS_VERSION 1

static const struct {
	const char *name;
	enum event_class class;
	bool body;
} types[EV_COUNT] = {
#define X(kind, wire, cls, folds) [EV_##kind] = {wire, cls, folds},
	EVENT_TYPES(X)
#undef X
};

const char *
event_name(enum event_type t)
{
	return t > EV_NONE && t < EV_COUNT ? types[t].name : "";
}

enum event_class
event_class(enum event_type t)
{
	return t > EV_NONE && t < EV_COUNT ? types[t].class : EVENT_INTERNAL;
}

bool
event_body_folds(enum event_type t)
{
	return t > EV_NONE && t < EV_COUNT && types[t].body;
}

enum event_type
event_type_of(struct str name)
{
	for (int i = EV_NONE + 1; i < EV_COUNT; i++) {
		if (str_eqz(name, types[i].name))
			return (enum event_type)i;
	}
	return EV_NONE;
}

bool
event_listed(enum event_type t)
{
	return event_class(t) != EVENT_INTERNAL;
}

bool
event_processed_at_birth(enum event_type t)
{
	return event_class(t) != EVENT_CLIENT_QUEUED;
}

/* ---- facts ---- */

static uint8_t *
put_le(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*p++ = (uint8_t)(v >> (8 * i));
	return p;
}

static uint64_t
get_le(const uint8_t **p, size_t n)
{
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)(*p)[i] << (8 * i);
	*p += n;
	return v;
}

void
event_facts_encode(const struct event_facts *f, uint8_t out[EVENT_FACTS_BYTES])
{
	memset(out, 0, EVENT_FACTS_BYTES);
	uint8_t *p = out;
	*p++ = FACTS_VERSION;
	*p++ = f->type;
	*p++ = f->permission;
	*p++ = f->stop;
	*p++ = f->end;
	*p++ = f->retry;
	*p++ = f->is_error;
	*p++ = 0;
	p = put_le(p, f->ref, 4);
	p = put_le(p, f->ref2, 4);
	p = put_le(p, f->at_us, 8);
	p = put_le(p, f->until_us, 8);
	p = put_le(p, f->input_tokens, 4);
	p = put_le(p, f->output_tokens, 4);
	p = put_le(p, f->cache_read_tokens, 4);
	p = put_le(p, f->cache_creation_tokens, 4);
	put_le(p, f->web_searches, 4);
}

static bool
facts_in_range(const struct event_facts *f)
{
	return f->type > EV_NONE && f->type < EV_COUNT && f->permission <= PERM_DENY &&
	       f->stop <= STOP_REFUSAL && f->end <= MODEL_END_LOST && f->retry <= RETRY_TERMINAL &&
	       f->is_error <= 1;
}

int
event_facts_decode(struct str in, struct event_facts *out, struct err *e)
{
	if (in.n != EVENT_FACTS_BYTES)
		return err_set(e, ERR_CORRUPT, "event facts of %zu bytes, not %d", in.n, EVENT_FACTS_BYTES);
	const uint8_t *p = (const uint8_t *)in.p;
	if (*p++ != FACTS_VERSION)
		return err_set(e, ERR_CORRUPT, "event facts of version %d, not %d", p[-1], FACTS_VERSION);
	struct event_facts f = {0};
	f.type = *p++;
	f.permission = *p++;
	f.stop = *p++;
	f.end = *p++;
	f.retry = *p++;
	f.is_error = *p++;
	p++;
	f.ref = (uint32_t)get_le(&p, 4);
	f.ref2 = (uint32_t)get_le(&p, 4);
	f.at_us = get_le(&p, 8);
	f.until_us = get_le(&p, 8);
	f.input_tokens = (uint32_t)get_le(&p, 4);
	f.output_tokens = (uint32_t)get_le(&p, 4);
	f.cache_read_tokens = (uint32_t)get_le(&p, 4);
	f.cache_creation_tokens = (uint32_t)get_le(&p, 4);
	f.web_searches = (uint32_t)get_le(&p, 4);
	if (!facts_in_range(&f))
		return err_set(e, ERR_CORRUPT, "event facts hold a value out of range (type %d)", f.type);
	*out = f;
	return 0;
}

/* ---- rendering ---- */

void
event_render(struct buf *b, struct str body, uint64_t processed_us)
{
	char when[TIME_TEXT_MAX];
	ASSERT(body.n >= 2 && body.p[0] == '{' && body.p[body.n - 1] == '}');
	buf_put(b, body.p, body.n - 1);
	if (body.n > 2)
		buf_put_c(b, ',');
	buf_put_z(b, "\"processed_at\":");
	if (processed_us == 0) {
		buf_put_z(b, "null}");
	} else {
		buf_put_c(b, '"');
		buf_put_z(b, time_format(processed_us, when));
		buf_put_z(b, "\"}");
	}
}
