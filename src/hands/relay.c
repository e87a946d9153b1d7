/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/relay.h"

#include <stdlib.h>

#include "base/frame.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "io/calls.h"

#define SMALL_FRAME (8 * KIB)

struct message {
	struct buf b;
	struct frame_w w;
};

static void
begin(struct message *m, uint16_t type, uint64_t call, size_t max)
{
	buf_init(&m->b, FRAME_HEAD + max);
	m->w = frame_begin(&m->b, type, call);
}

static void
finish(struct message *m, struct rpc_peer *p)
{
	frame_end(&m->w, 0);
	if (p)
		rpc_send(p, &m->b);
	buf_done(&m->b);
}

int
relay_result_make(struct relay_result *out, const struct guest_result *r, struct err *e)
{
	struct message m;

	begin(&m, HANDS_RESULT, 0, LIM_FRAME_ROLE);
	frame_str(&m.w, r->exec_id);
	frame_u64(&m.w, r->status);
	frame_u64(&m.w, r->is_error ? 1 : 0);
	frame_str(&m.w, r->text);
	frame_str(&m.w, r->offload);
	frame_u64(&m.w, r->full_length);
	frame_u64(&m.w, r->run_us);
	int rc = buf_check(&m.b, e);
	char *p = rc == 0 ? malloc(m.b.n - FRAME_HEAD) : NULL;

	if (rc == 0 && !p)
		rc = err_set(e, ERR_NO_MEMORY, "result");
	if (rc == 0) {
		memcpy(p, m.b.p + FRAME_HEAD, m.b.n - FRAME_HEAD);
		*out = (struct relay_result){p, m.b.n - FRAME_HEAD};
	}
	buf_done(&m.b);
	return rc;
}

void
relay_result_done(struct relay_result *r)
{
	free(MOVE(r->payload));
	r->n = 0;
}

void
relay_want(struct rpc_peer *p, uint64_t call, const struct id *ids, size_t n)
{
	struct message m;

	begin(&m, HANDS_WANT, call, LIM_FRAME_ROLE);
	frame_u64(&m.w, n);
	for (size_t i = 0; i < n; i++)
		frame_str(&m.w, id_str(&ids[i]));
	finish(&m, p);
}

void
relay_claimed(struct rpc_peer *p, uint64_t call, uint64_t generation, unsigned how, uint64_t us)
{
	struct message m;

	begin(&m, HANDS_CLAIMED, call, SMALL_FRAME);
	frame_u64(&m.w, generation);
	frame_u64(&m.w, how);
	frame_u64(&m.w, us);
	finish(&m, p);
}

void
relay_failed(
	struct rpc_peer *p, uint64_t call, enum hands_step step, const struct err *why, uint64_t generation)
{
	struct message m;

	begin(&m, HANDS_FAILED, call, SMALL_FRAME);
	frame_u64(&m.w, (uint64_t)why->kind);
	frame_str(&m.w, str_z(hands_step_name(step)));
	frame_str(&m.w, str_z(why->msg));
	frame_u64(&m.w, generation);
	finish(&m, p);
}

void
relay_output(struct rpc_peer *p, uint64_t call, struct str exec_id, struct str piece)
{
	struct message m;

	/* Best effort: a control that does not keep up misses pieces, never results. */
	if (!p || rpc_peer_full(p))
		return;
	begin(&m, HANDS_OUTPUT, call, LIM_CHUNK + SMALL_FRAME);
	frame_str(&m.w, exec_id);
	frame_str(&m.w, piece);
	finish(&m, p);
}

void
relay_result(struct rpc_peer *p, uint64_t call, const struct relay_result *r)
{
	struct message m;

	begin(&m, HANDS_RESULT, call, LIM_FRAME_ROLE);
	buf_put(&m.b, r->payload, r->n);
	finish(&m, p);
}

void
relay_unknown(struct rpc_peer *p, uint64_t call, struct str exec_id)
{
	struct guest_result g = {.exec_id = exec_id, .status = GUEST_UNKNOWN, .is_error = true};
	struct relay_result r;

	if (relay_result_make(&r, &g, NULL) < 0)
		return;
	relay_result(p, call, &r);
	relay_result_done(&r);
}

void
relay_gone(struct rpc_peer *p, struct str session, uint64_t generation, const struct sandbox_end *end)
{
	struct message m;

	begin(&m, HANDS_GONE, 0, SMALL_FRAME);
	frame_str(&m.w, session);
	frame_u64(&m.w, generation);
	frame_str(&m.w, str_z(end->reason));
	frame_u64(&m.w, end->exit_known ? 1 : 0);
	frame_u64(&m.w, end->exit_known ? (uint64_t)end->exit_status : 0);
	finish(&m, p);
}

void
relay_released(struct rpc_peer *p, uint64_t call)
{
	struct message m;

	begin(&m, HANDS_RELEASED, call, SMALL_FRAME);
	finish(&m, p);
}

void
relay_output_file(struct rpc_peer *p, struct str session, const struct outputs_file *f, int fd)
{
	struct message m;

	if (!p) {
		fd_close(fd);
		return;
	}
	begin(&m, HANDS_OUTPUT_FILE, 0, SMALL_FRAME);
	frame_str(&m.w, session);
	frame_str(&m.w, f->path);
	frame_u64(&m.w, f->size);
	frame_u64(&m.w, f->mtime_us);
	frame_end(&m.w, FRAME_FD);
	rpc_send_fd(p, &m.b, fd);
	buf_done(&m.b);
}

void
relay_status(struct rpc_peer *p, struct str json)
{
	struct message m;

	begin(&m, HANDS_STATUS, 0, 2 * SMALL_FRAME);
	frame_str(&m.w, json);
	finish(&m, p);
}
