/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What control may say. A malformed message drops the connection (control is us); a refused claim is
 * answered.
 */
#include "base/frame.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/claim.h"
#include "hands/role.h"
#include "io/calls.h"

static int
on_claim(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct hands *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str id = frame_get_str_max(&r, ID_MAX - 1);
	struct err why = {0};
	struct claim *c = NULL;
	int rc = claim_parse(&c, &r, m->f.call, &h->env, &why);

	(void)p;
	if (rc == -ERR_CORRUPT) {
		*e = why;
		return rc;
	}
	struct session *s = rc == 0 && !h->stopping ? session_get(h, id, &why) : NULL;

	if (!s) {
		if (!why.kind)
			err_set(&why, ERR_UNAVAILABLE, "hands is stopping");
		relay_failed(h->control, m->f.call, STEP_WORKSPACE, &why, 0);
		claim_free(c);
		return 0;
	}
	struct claim **at = &s->claims;

	while (*at)
		at = &(*at)->next;
	*at = c;
	if (s->sb)
		sandbox_set_busy(s->sb, true);
	claim_advance(s);
	session_settle(s);
	return 0;
}

static int
on_file(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	const struct hands *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str file_id = frame_get_str_max(&r, ID_MAX - 1);
	uint64_t size = frame_get_u64(&r);
	int rc = frame_done(&r, e);
	struct session *next;

	(void)p;
	if (rc < 0)
		return rc;
	for (struct session *s = h->sessions; s && m->fd >= 0; s = next) {
		next = s->next;
		claim_give_file(s, m->f.call, file_id, size, &m->fd);
		session_settle(s);
	}
	return 0;
}

static int
on_execute(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct hands *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str id = frame_get_str_max(&r, ID_MAX - 1);
	uint64_t generation = frame_get_u64(&r);
	struct exec_call c = {.call = m->f.call};
	struct err why = {0};

	(void)p;
	c.id = frame_get_str_max(&r, ID_MAX - 1);
	c.tool = frame_get_str_max(&r, LIM_TOOL_NAME);
	c.input = frame_get_str_max(&r, LIM_TOOL_INPUT);
	c.timeout_ms = frame_get_u64(&r);
	int rc = frame_done(&r, e);

	if (rc < 0)
		return rc;
	struct session *s = session_find(h, id);

	if (s) {
		session_execute(s, generation, &c);
		return 0;
	}
	err_set(&why, ERR_FENCED, "the session has no sandbox");
	relay_failed(h->control, c.call, STEP_EXECUTE, &why, 0);
	return 0;
}

static int
on_cancel(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct frame_r r = frame_r(m->f.payload);
	struct str id = frame_get_str_max(&r, ID_MAX - 1);
	uint64_t generation = frame_get_u64(&r);
	struct str exec_id = frame_get_str_max(&r, ID_MAX - 1);
	int rc = frame_done(&r, e);
	struct session *s = rc == 0 ? session_find(owner, id) : NULL;

	(void)p;
	if (s)
		session_cancel(s, generation, exec_id);
	return rc;
}

static int
on_collect(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct hands *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str id = frame_get_str_max(&r, ID_MAX - 1);
	struct str exec_id = frame_get_str_max(&r, ID_MAX - 1);
	int rc = frame_done(&r, e);
	struct session *s = rc == 0 ? session_find(h, id) : NULL;

	(void)p;
	if (rc < 0)
		return rc;
	if (s)
		session_collect(s, exec_id, m->f.call);
	else
		relay_unknown(h->control, m->f.call, exec_id);
	return 0;
}

static int
on_ack(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct frame_r r = frame_r(m->f.payload);
	struct str id = frame_get_str_max(&r, ID_MAX - 1);
	struct str exec_id = frame_get_str_max(&r, ID_MAX - 1);
	int rc = frame_done(&r, e);
	struct session *s = rc == 0 ? session_find(owner, id) : NULL;

	(void)p;
	if (s) {
		session_ack(s, exec_id);
		session_settle(s);
	}
	return rc;
}

static int
on_release(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct hands *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str id = frame_get_str_max(&r, ID_MAX - 1);
	uint64_t destroy = frame_get_u64(&r);
	int rc = frame_done(&r, e);
	struct err why = {0};

	(void)p;
	if (rc < 0)
		return rc;
	struct session *s = session_get(h, id, &why);

	if (!s) {
		log_warn("session.release", LOG_STR("session", id), LOG_ERR(&why));
		relay_released(h->control, m->f.call);
		return 0;
	}
	session_release(s, m->f.call, destroy != 0);
	session_settle(s);
	return 0;
}

#define IDS_MAX (4 * (ID_MAX + 8) + 64)

const struct rpc_permit control_permits[] = {
	{.type = HANDS_CLAIM, .max = LIM_FRAME_CLAIM, .on = on_claim},
	{.type = HANDS_FILE, .max = IDS_MAX, .with_fd = true, .on = on_file},
	{.type = HANDS_EXECUTE, .max = LIM_FRAME_ROLE, .on = on_execute},
	{.type = HANDS_CANCEL, .max = IDS_MAX, .on = on_cancel},
	{.type = HANDS_COLLECT, .max = IDS_MAX, .on = on_collect},
	{.type = HANDS_ACK, .max = IDS_MAX, .on = on_ack},
	{.type = HANDS_RELEASE, .max = IDS_MAX, .on = on_release},
};
const size_t control_n_permits = ARRAY_LEN(control_permits);
