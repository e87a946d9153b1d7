/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/state.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/sse.h"

/* One record is encoded once and shared by all subscribers. */
static struct rc_bytes *
record(struct str id, struct str name, struct str json)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY + KIB);
	sse_put(&b, id, name, json);
	return buf_check(&b, NULL) < 0 ? NULL : rc_bytes_new(buf_str(&b));
}

static void
deliver(struct live *l, struct rc_bytes *rec, bool droppable, unsigned previews)
{
	struct brain_sub *next;
	for (struct brain_sub *s = l->subs; s != NULL && rec != NULL; s = next) {
		next = s->next;
		if (previews != 0 && ((s->o.previews & previews) == 0 || s->since_request >= l->requests))
			continue;
		s->o.on_record(s->o.arg, rec, droppable);
	}
}

static void
deliver_event(struct live *l, uint32_t seq, enum event_type type, struct str body, uint64_t processed_us)
{
	AUTO(buf) struct buf json;
	buf_init(&json, LIM_EVENT_BODY + KIB);
	event_render(&json, body, processed_us);
	AUTO(buf) struct buf id;
	buf_init(&id, 16);
	buf_put_u64(&id, seq);
	struct rc_bytes *rec = NULL;
	if (buf_check(&json, NULL) == 0 && buf_check(&id, NULL) == 0)
		rec = record(buf_str(&id), str_z(event_name(type)), buf_str(&json));
	if (rec == NULL)
		log_error("stream.encode", LOG_STR("session", id_str(&l->id)), LOG_INT("seq", seq));
	deliver(l, rec, false, 0);
	rc_bytes_unref(rec);
}

void
subs_deliver(struct live *l, const struct event_row *row)
{
	if (l->subs == NULL)
		return;
	enum event_type t = (enum event_type)row->facts.type;
	if (t == EV_PROCESSED) {
		const struct live_kept *k = live_kept_find(l, row->facts.ref);
		if (k != NULL)
			deliver_event(l, row->seq, k->type, str_n(k->body->p, k->body->n), row->facts.at_us);
	} else if (event_listed(t)) {
		deliver_event(l, row->seq, t, row->body, event_processed_at_birth(t) ? row->facts.at_us : 0);
	}
}

static void
deliver_preview(struct live *l, const char *name, struct buf *json, unsigned previews)
{
	struct rc_bytes *rec =
		buf_check(json, NULL) == 0 ? record(STR_NULL, str_z(name), buf_str(json)) : NULL;
	deliver(l, rec, true, previews);
	rc_bytes_unref(rec);
}

static unsigned
preview_bit(enum event_type type)
{
	return type == EV_AGENT_THINKING ? BRAIN_PREVIEW_THINKING : BRAIN_PREVIEW_MESSAGE;
}

void
subs_preview_start(struct live *l, enum event_type type, const struct id *event_id)
{
	if (l->subs == NULL)
		return;
	AUTO(buf) struct buf b;
	buf_init(&b, KIB);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "type", "event_start");
	jw_key(&w, "event");
	jw_obj(&w);
	jw_kz(&w, "type", event_name(type));
	jw_kz(&w, "id", event_id->z);
	jw_obj_end(&w);
	jw_obj_end(&w);
	deliver_preview(l, "event_start", &b, preview_bit(type));
}

void
subs_preview_text(struct live *l, const struct id *event_id, unsigned index, struct str delta)
{
	if (l->subs == NULL)
		return;
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_MODEL_RESPONSE);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "type", "event_delta");
	jw_kz(&w, "event_id", event_id->z);
	jw_key(&w, "delta");
	jw_obj(&w);
	jw_kz(&w, "type", "content_delta");
	jw_kint(&w, "index", index);
	jw_key(&w, "content");
	jw_obj(&w);
	jw_kz(&w, "type", "text");
	jw_kstr(&w, "text", delta);
	jw_obj_end(&w);
	jw_obj_end(&w);
	jw_obj_end(&w);
	deliver_preview(l, "event_delta", &b, BRAIN_PREVIEW_MESSAGE);
}

int
brain_subscribe(struct brain *b, struct str session_id, const struct brain_sub_opts *o,
	struct brain_sub **out, struct err *e)
{
	struct live *l = live_entry(b, session_id);
	struct brain_sub *s = l != NULL ? calloc(1, sizeof(*s)) : NULL;
	if (s == NULL) {
		if (l != NULL)
			live_settle(l);
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	s->live = l;
	s->o = *o;
	s->since_request = l->requests;
	s->next = l->subs;
	s->link = &l->subs;
	if (l->subs != NULL)
		l->subs->link = &s->next;
	l->subs = s;
	*out = s;
	return 0;
}

static void
sub_detach(struct brain_sub *s)
{
	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
}

void
brain_unsubscribe(struct brain_sub *s)
{
	if (s == NULL)
		return;
	struct live *l = s->live;
	sub_detach(s);
	free(s);
	live_settle(l);
}

static void
deliver_deleted(struct live *l)
{
	AUTO(buf) struct buf b;
	buf_init(&b, KIB);
	struct id id = id_new("sevt", clock_wall_us());
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "type", "session.deleted");
	jw_kz(&w, "id", id.z);
	jw_ktime(&w, "processed_at", clock_wall_us());
	jw_obj_end(&w);
	struct rc_bytes *rec = record(STR_NULL, STR("session.deleted"), buf_str(&b));
	deliver(l, rec, false, 0);
	rc_bytes_unref(rec);
}

void
subs_end(struct live *l, bool deleted)
{
	if (deleted && l->subs != NULL)
		deliver_deleted(l);
	while (l->subs != NULL) {
		struct brain_sub *s = l->subs;
		sub_detach(s);
		s->o.on_end(s->o.arg);
		free(s);
	}
}
