/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/brain.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "brain/hands_client.h"
#include "brain/model_client.h"
#include "brain/state.h"

/* ---- sandbox notes: internal rows, so that a session's history of sandboxes can be read from its log ----
 */

struct sandbox_note {
	struct id session;
	char what[32];
	uint64_t generation, us;
};

static int
make_note(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	const struct sandbox_note *n = arg;
	if (s->turn.status == TURN_TERMINATED)
		return 0;
	uint64_t now = clock_wall_us();
	struct id id = id_new("sevt", now);
	const char *body = arena_printf(p->arena,
		"{\"type\":\"pinfold.sandbox\",\"id\":\"%s\",\"what\":\"%s\",\"generation\":%llu,\"start_"
		"us\":%llu}",
		id.z, n->what, (unsigned long long)n->generation, (unsigned long long)n->us);
	p->rows[p->n_rows++] = (struct event_row){
		.id = id, .facts = {.type = EV_SANDBOX, .at_us = now}, .body = str_z(body)};
	return arena_check(p->arena, e);
}

static void
on_note(void *arg, const struct err *err, const struct plan *p, uint32_t first_seq,
	const struct session_state *s)
{
	(void)p, (void)first_seq, (void)s;
	struct sandbox_note *n = arg;
	if (err != NULL && err->kind != ERR_NOT_FOUND)
		log_warn("sandbox.note", LOG_STR("session", id_str(&n->session)), LOG_ERR(err));
	free(n);
}

/* Only words of our own may go into the row: what hands says is copied letter by letter. */
static void
copy_word(struct str from, char *to, size_t cap)
{
	size_t n = 0;
	for (size_t i = 0; i < from.n && n + 1 < cap; i++) {
		char c = from.p[i];
		if ((c >= 'a' && c <= 'z') || c == '_' || c == '-')
			to[n++] = c;
	}
	to[n] = '\0';
}

static void
on_sandbox(void *owner, struct str session_id, struct str what, uint64_t generation, uint64_t us)
{
	struct brain *b = owner;
	log_info("sandbox", LOG_STR("session", session_id), LOG_STR("what", what),
		LOG_INT("generation", generation), LOG_INT("us", us),
		LOG_Z("network", "none: the sandbox has loopback only until the gate serves it"));
	struct sandbox_note *n = str_eqz(what, "existing") ? NULL : calloc(1, sizeof(*n));
	if (n == NULL)
		return;
	n->session = id_from(session_id);
	copy_word(what, n->what, sizeof(n->what));
	n->generation = generation;
	n->us = us;
	struct brain_change c = {.make = make_note, .done = on_note, .arg = n};
	brain_session_change(b, session_id, &c);
}

/* ---- life ---- */

int
brain_new(struct brain **out, struct loop *l, const struct brain_opts *o, struct err *e)
{
	struct brain *b = calloc(1, sizeof(*b));
	if (b == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	b->loop = l;
	b->o = *o;
	b->lru.lru_next = b->lru.lru_prev = &b->lru;
	struct hands_opts ho = {.store = o->store,
		.image = o->image,
		.memory = o->sandbox_memory,
		.pids = o->sandbox_pids,
		.disk = o->sandbox_disk,
		.cpu_milli = o->sandbox_cpu_milli,
		.owner = b,
		.on_sandbox = on_sandbox,
		.on_output = outputs_take};
	b->gate = gate_client_new(l);
	b->hands = hands_client_new(l, &ho);
	if (b->gate == NULL || b->hands == NULL) {
		brain_free(b);
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	*out = b;
	return 0;
}

void
brain_stop(struct brain *b)
{
	if (b == NULL)
		return;
	b->stopping = true;
	outputs_abort(b);
}

void
brain_free(struct brain *b)
{
	if (b == NULL)
		return;
	live_free_all(b);
	gate_client_free(b->gate);
	hands_client_free(b->hands);
	free(b);
}

void
brain_set_peer(struct brain *b, const char *role, int fd)
{
	if (str_eqz(STR("gate"), role))
		gate_client_set_peer(b->gate, fd);
	else if (str_eqz(STR("hands"), role))
		hands_client_set_peer(b->hands, fd);
	else
		fd_close(fd);
}

bool
brain_linked(const struct brain *b)
{
	return gate_client_connected(b->gate) && hands_client_connected(b->hands);
}

static void
on_woken(void *arg, const struct err *err, const struct session_state *s)
{
	(void)arg, (void)s;
	if (err != NULL)
		log_error("session.wake", LOG_ERR(err));
}

static void
on_unfinished(void *arg, const struct err *err, const struct id *ids, size_t n)
{
	struct brain *b = arg;
	if (err != NULL) {
		log_error("brain.recover", LOG_ERR(err));
		return;
	}
	if (n > 0)
		log_info("brain.recover", LOG_INT("sessions", n));
	for (size_t i = 0; i < n; i++)
		brain_session_get(b, id_str(&ids[i]), on_woken, b);
}

void
brain_recover(struct brain *b)
{
	store_sessions_unfinished(b->o.store, on_unfinished, b);
}

void
brain_status(const struct brain *b, struct json_w *w)
{
	jw_kint(w, "sessions_in_memory", (int64_t)b->n_lives);
	jw_kint(w, "runs", (int64_t)b->n_runs);
	jw_kbool(w, "gate_connected", gate_client_connected(b->gate));
	jw_kbool(w, "hands_connected", hands_client_connected(b->hands));
	jw_kraw(w, "hands", hands_client_status(b->hands));
}
