/* SPDX-License-Identifier: Apache-2.0 */
/* The brain on a real store, with a gate and hands that the test plays: turns, interrupts, losses, conflicts.
 */
#include "test_brain_kit.h"

#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "model_talk.h"

#define MESSAGE(t) "[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"" t "\"}]}]"
#define LS         "{\\\"command\\\":\\\"ls\\\"}"
#define BASH(i)    REC_TOOL(#i, "tu_" #i, "bash", LS)

#define ANSWER_TOOL(k, i)  KIT_ANSWER(k, i, BASH(0), REC_END("tool_use"))
#define ANSWER_TOOLS(k, i) KIT_ANSWER(k, i, BASH(0), BASH(1), BASH(2), REC_END("tool_use"))

static void
assert_log(struct kit *k, const char *want)
{
	buf_put_c(&k->log, '\0');
	assert_string_equal(k->log.p, want);
	k->log.n--;
}

/* Up to a tool that runs in a sandbox: request 0, claim 0, execution 0. */
static void
run_tool(struct kit *k)
{
	kit_say(k, "list");
	kit_until(k, k->n_requests == 1);
	ANSWER_TOOL(k, 0);
	kit_until(k, k->n_claims == 1);
	kit_claimed(k, 0, 1);
	kit_until(k, k->n_execs == 1);
}

/* ---- turns ---- */

static void
says_hello(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	assert_true(str_find_str(buf_str(&k->body), STR("\"text\":\"Hi\"")) < k->body.n);
	KIT_SAY(k, 0);
	kit_until(k, kit_idle(k));
	assert_log(k, "pinfold.session_created\n"
		      "user.message\nsession.status_running\nsession.thread_status_running\n+user.message\n"
		      "span.model_request_start\n"
		      "agent.message\nspan.model_request_end\nsession.thread_status_idle\nsession.usage\n"
		      "session.status_idle\n");
	assert_int_equal(k->n_claims, 0);
}

static void
runs_tools(void **state)
{
	struct kit *k = *state;
	kit_say(k, "list");
	kit_until(k, k->n_requests == 1);
	ANSWER_TOOLS(k, 0);
	kit_until(k, k->n_claims == 1);
	assert_int_equal(k->n_execs, 0);
	kit_claimed(k, 0, 1);
	kit_until(k, k->n_execs == 3);
	assert_string_equal(k->execs[0].tool, "bash");
	assert_string_equal(k->execs[0].input, "{\"command\":\"ls\"}");
	kit_result(k, &k->execs[2], GUEST_OK, "third");
	kit_result(k, &k->execs[0], GUEST_OK, "first");
	kit_until(k, kit_count(k, EV_AGENT_TOOL_RESULT) == 2);
	assert_int_equal(k->n_requests, 1);
	kit_result(k, &k->execs[1], GUEST_OK, "");
	kit_until(k, k->n_requests == 2);
	assert_true(str_find_str(buf_str(&k->body), STR("(no output)")) < k->body.n);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k) && k->n_acks == 3);
	assert_int_equal(k->n_claims, 1);
}

static void
on_stored(void *arg, const struct err *err)
{
	struct kit *k = arg;
	assert_null(err);
	k->n_answers++;
	loop_stop(k->loop);
}

/* A file that a message names is in the request with its bytes. */
static void
shows_files(void **state)
{
	struct kit *k = *state;
	struct err e = {0};
	struct store_blob *b = NULL;
	size_t had = k->n_answers;
	assert_int_equal(store_blob_new(k->store, STR("file_1"), &b, &e), 0);
	assert_int_equal(store_blob_write(b, STR("%PDF-1.7"), &e), 0);
	store_blob_finish(b, on_stored, k);
	kit_until(k, k->n_answers > had);
	kit_send(k, k->session,
		"[{\"type\":\"user.message\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":"
		"\"file\",\"file_id\":\"file_1\"}},{\"type\":\"image\",\"source\":{\"type\":\"file\","
		"\"file_id\":\"file_2\"}}]}]");
	kit_until(k, k->n_requests == 1);
	assert_true(str_find_str(buf_str(&k->body), STR("\"data\":\"JVBERi0xLjc=\"")) < k->body.n);
	assert_true(str_find_str(buf_str(&k->body), STR("image, file_2, cannot be shown")) < k->body.n);
	struct json_t *v = NULL;
	assert_int_equal(json_parse(buf_str(&k->body), &v, &e), 0);
	json_free(v);
}

/* The second turn finds the sandbox that the first one claimed. */
static void
keeps_the_sandbox(void **state)
{
	struct kit *k = *state;
	run_tool(k);
	kit_result(k, &k->execs[0], GUEST_OK, "x");
	kit_until(k, k->n_requests == 2);
	ANSWER_TOOL(k, 1);
	kit_until(k, k->n_execs == 2);
	kit_gone(k, k->session, 1);
	kit_exec_failed(k, &k->execs[1], ERR_UNAVAILABLE);
	kit_until(k, k->n_requests == 3);
	assert_true(str_find_str(buf_str(&k->body), STR("The sandbox was lost")) < k->body.n);
	ANSWER_TOOL(k, 2);
	kit_until(k, k->n_claims == 2);
}

/* ---- failures of the model ---- */

static void
retries_when_overloaded(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	kit_refuse(k, 0, 529, "{\"error\":{\"message\":\"busy\"}}");
	kit_until(k, kit_count(k, EV_SESSION_STATUS_RESCHEDULED) == 1);
	kit_until(k, k->n_requests == 2);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
	assert_int_equal(kit_count(k, EV_SESSION_ERROR), 1);
}

static void
gives_up_when_refused(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	kit_refuse(k, 0, 400, "{\"error\":{\"message\":\"no such model\"}}");
	kit_until(k, kit_idle(k));
	assert_int_equal(kit_count(k, EV_SESSION_ERROR), 1);
	assert_int_equal(k->n_requests, 1);
}

static void
survives_the_gate(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	kit_begin(k, 0, (const char *const[]){REC_START, NULL});
	kit_drop_gate(k);
	kit_until(k, kit_count(k, EV_SPAN_MODEL_REQUEST_END) == 1);
	kit_connect_gate(k);
	kit_until(k, k->n_requests == 2);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
	assert_int_equal(kit_count(k, EV_AGENT_MESSAGE), 1);
}

/* ---- interrupts ---- */

static void
interrupts_a_request(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	kit_interrupt(k);
	kit_until(k, kit_idle(k) && k->n_cancelled == 1);
	/* The answer that comes too late is nobody's. */
	KIT_SAY(k, 0);
	kit_say(k, "Again");
	kit_until(k, k->n_requests == 2);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
	assert_int_equal(kit_count(k, EV_AGENT_MESSAGE), 1);
}

static void
interrupts_a_tool(void **state)
{
	struct kit *k = *state;
	run_tool(k);
	kit_interrupt(k);
	kit_until(k, k->n_cancels == 1);
	kit_result(k, &k->execs[0], GUEST_CANCELLED, "");
	kit_until(k, kit_idle(k));
	assert_int_equal(kit_count(k, EV_AGENT_TOOL_RESULT), 1);
	assert_int_equal(k->n_requests, 1);
}

/* Nothing was sent yet: nobody has to be asked. */
static void
interrupts_a_claim(void **state)
{
	struct kit *k = *state;
	kit_say(k, "list");
	kit_until(k, k->n_requests == 1);
	ANSWER_TOOLS(k, 0);
	kit_until(k, k->n_claims == 1);
	kit_interrupt(k);
	kit_until(k, kit_idle(k));
	kit_claimed(k, 0, 1);
	kit_say(k, "again");
	kit_until(k, k->n_requests == 2);
	assert_int_equal(k->n_execs, 0);
	assert_int_equal(kit_count(k, EV_AGENT_TOOL_RESULT), 3);
}

static void
interrupts_a_wait(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	kit_refuse(k, 0, 529, "{}");
	kit_until(k, kit_count(k, EV_SESSION_STATUS_RESCHEDULED) == 1);
	kit_interrupt(k);
	kit_until(k, kit_idle(k));
	assert_int_equal(k->n_requests, 1);
}

/* ---- losses of hands ---- */

static void
collects_after_a_loss(void **state)
{
	struct kit *k = *state;
	run_tool(k);
	kit_drop_hands(k);
	kit_connect_hands(k);
	kit_until(k, k->n_collects == 1);
	assert_string_equal(k->collects[0].id, k->execs[0].id);
	kit_result(k, &k->collects[0], GUEST_RUNNING, "");
	kit_result(k, &k->collects[0], GUEST_OK, "done after all");
	kit_until(k, k->n_requests == 2);
	assert_true(str_find_str(buf_str(&k->body), STR("done after all")) < k->body.n);
	assert_int_equal(k->n_execs, 1);
}

static void
says_when_it_is_unknown(void **state)
{
	struct kit *k = *state;
	run_tool(k);
	kit_drop_hands(k);
	kit_connect_hands(k);
	kit_until(k, k->n_collects == 1);
	kit_result(k, &k->collects[0], GUEST_UNKNOWN, "");
	kit_until(k, k->n_requests == 2);
	assert_true(str_find_str(buf_str(&k->body), STR("unknown whether")) < k->body.n);
	assert_int_equal(k->n_execs, 1);
}

/* What was not sent is sent on the next connection. */
static void
claims_again_after_a_loss(void **state)
{
	struct kit *k = *state;
	kit_say(k, "list");
	kit_until(k, k->n_requests == 1);
	ANSWER_TOOL(k, 0);
	kit_until(k, k->n_claims == 1);
	kit_drop_hands(k);
	kit_connect_hands(k);
	kit_until(k, k->n_claims == 2);
	kit_claimed(k, 1, 1);
	kit_until(k, k->n_execs == 1);
	assert_int_equal(k->n_collects, 0);
}

static void
answers_a_failed_start(void **state)
{
	struct kit *k = *state;
	kit_say(k, "list");
	kit_until(k, k->n_requests == 1);
	ANSWER_TOOLS(k, 0);
	kit_until(k, k->n_claims == 1);
	kit_claim_failed(k, 0);
	kit_until(k, k->n_requests == 2);
	assert_true(str_find_str(buf_str(&k->body), STR("could not be started (step start)")) < k->body.n);
	assert_int_equal(kit_count(k, EV_AGENT_TOOL_RESULT), 3);
}

/* Two calls that reach a successor of their sandbox make one claim. */
static void
claims_once_for_all_fenced(void **state)
{
	struct kit *k = *state;
	kit_say(k, "list");
	kit_until(k, k->n_requests == 1);
	ANSWER_TOOLS(k, 0);
	kit_until(k, k->n_claims == 1);
	kit_claimed(k, 0, 1);
	kit_until(k, k->n_execs == 3);
	for (size_t i = 0; i < 3; i++)
		kit_exec_failed(k, &k->execs[i], ERR_FENCED);
	kit_until(k, k->n_claims == 2);
	kit_claimed(k, 1, 2);
	kit_until(k, k->n_execs == 6);
	assert_int_equal(k->n_claims, 2);
	for (size_t i = 3; i < 6; i++)
		kit_result(k, &k->execs[i], GUEST_OK, "x");
	kit_until(k, k->n_requests == 2);
}

/* A guest that says "cancelled" unasked does not get the tool run again. */
static void
distrusts_a_cancellation(void **state)
{
	struct kit *k = *state;
	run_tool(k);
	kit_result(k, &k->execs[0], GUEST_CANCELLED, "");
	kit_until(k, k->n_requests == 2);
	assert_int_equal(k->n_execs, 1);
	assert_int_equal(kit_count(k, EV_AGENT_TOOL_RESULT), 1);
}

/* ---- restarts ---- */

/* The tool may have been sent by the process that died: it is asked for, not run. */
static void
collects_after_a_restart(void **state)
{
	struct kit *k = *state;
	run_tool(k);
	kit_restart(k);
	kit_connect_gate(k);
	kit_connect_hands(k);
	brain_recover(k->brain);
	kit_until(k, k->n_collects == 1);
	kit_result(k, &k->collects[0], GUEST_OK, "kept");
	kit_until(k, k->n_requests == 2);
	assert_true(str_find_str(buf_str(&k->body), STR("kept")) < k->body.n);
	assert_int_equal(k->n_execs, 1);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
}

/* The request of the process that died ends as lost, and is made again. */
static void
asks_again_after_a_restart(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	kit_restart(k);
	kit_connect_gate(k);
	kit_connect_hands(k);
	brain_recover(k->brain);
	kit_until(k, k->n_requests == 2);
	assert_int_equal(kit_count(k, EV_SPAN_MODEL_REQUEST_START), 2);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
}

/* ---- changes at the same time ---- */

/* Both plans are made from the same row and open a request; one is appended, the other made anew. The request
 * that was opened is this process's own: it is made, not called lost. */
static void
two_messages_at_once(void **state)
{
	struct kit *k = *state;
	size_t had = k->n_answers;
	kit_send(k, k->session, MESSAGE("one"));
	kit_send(k, k->session, MESSAGE("two"));
	kit_until(k, k->n_answers == had + 2);
	assert_int_equal(k->kind, ERR_NONE);
	kit_until(k, k->n_requests == 1);
	assert_int_equal(kit_count(k, EV_SPAN_MODEL_REQUEST_START), 1);
	assert_int_equal(kit_count(k, EV_SPAN_MODEL_REQUEST_END), 0);
	KIT_SAY(k, 0);
	kit_until(k, k->n_requests == 2);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
	assert_int_equal(kit_count(k, EV_USER_MESSAGE), 2);
	assert_int_equal(kit_count(k, EV_AGENT_MESSAGE), 2);
}

static void
many_messages_at_once(void **state)
{
	struct kit *k = *state;
	size_t had = k->n_answers;
	for (int i = 0; i < 20; i++)
		kit_send(k, k->session, MESSAGE("x"));
	kit_until(k, k->n_answers == had + 20);
	assert_int_equal(kit_count(k, EV_USER_MESSAGE), 20);
	kit_until(k, k->n_requests == 1);
	KIT_SAY(k, 0);
	kit_until(k, k->n_requests == 2);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
	assert_int_equal(k->n_requests, 2);
}

/* ---- memory ---- */

static void
touch(struct kit *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)kit_create(k);
}

static void
evicts_and_reloads(void **state)
{
	struct kit *k = *state;
	struct id first = k->session;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	KIT_SAY(k, 0);
	kit_until(k, kit_idle(k));
	touch(k, 150);
	k->session = first;
	assert_null(kit_state(k));
	kit_say(k, "Are you still there?");
	kit_until(k, k->n_requests == 2);
	assert_true(str_find_str(buf_str(&k->body), STR("Hello.")) < k->body.n);
	KIT_SAY(k, 1);
	kit_until(k, kit_idle(k));
}

/* However many others come by, a session that works is not evicted. */
static void
keeps_the_busy(void **state)
{
	struct kit *k = *state;
	struct id first = k->session;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	touch(k, 150);
	k->session = first;
	assert_non_null(kit_state(k));
	KIT_SAY(k, 0);
	kit_until(k, kit_idle(k));
}

static void
on_got(void *arg, const struct err *err, const struct session_state *s)
{
	struct kit *k = arg;
	k->kind = err != NULL ? err->kind : ERR_NONE;
	assert_true((s == NULL) == (err != NULL));
	k->n_answers++;
	loop_stop(k->loop);
}

static void
unknown_sessions(void **state)
{
	struct kit *k = *state;
	size_t had = k->n_answers;
	struct id none = id_new("sesn", 1);
	brain_session_get(k->brain, STR("nonsense"), on_got, k);
	assert_int_equal(k->n_answers, had + 1);
	assert_int_equal(k->kind, ERR_NOT_FOUND);
	brain_session_get(k->brain, id_str(&none), on_got, k);
	brain_session_get(k->brain, id_str(&none), on_got, k);
	kit_until(k, k->n_answers == had + 3);
	assert_int_equal(k->kind, ERR_NOT_FOUND);
}

/* ---- deleting ---- */

static void
on_deleted(void *arg, const struct err *err)
{
	struct kit *k = arg;
	k->kind = err != NULL ? err->kind : ERR_NONE;
	k->n_answers++;
	loop_stop(k->loop);
}

static enum err_kind
delete_now(struct kit *k)
{
	size_t had = k->n_answers;
	brain_session_delete(k->brain, id_str(&k->session), on_deleted, k);
	kit_until(k, k->n_answers > had);
	return k->kind;
}

static void
deletes(void **state)
{
	struct kit *k = *state;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	assert_int_equal(delete_now(k), ERR_INVALID);
	KIT_SAY(k, 0);
	kit_until(k, kit_idle(k));
	assert_int_equal(delete_now(k), ERR_NONE);
	kit_until(k, k->n_releases == 1);
	assert_int_equal(delete_now(k), ERR_NOT_FOUND);
}

/* The workspace is removed when hands are there again. */
static void
deletes_without_hands(void **state)
{
	struct kit *k = *state;
	kit_drop_hands(k);
	assert_int_equal(delete_now(k), ERR_NONE);
	assert_int_equal(k->n_releases, 0);
	kit_connect_hands(k);
	kit_until(k, k->n_releases == 1);
}

/* A message and a deletion at once: either the session is gone, or the message is worked on. */
static void
deletes_while_written(void **state)
{
	struct kit *k = *state;
	size_t had = k->n_answers;
	kit_send(k, k->session, MESSAGE("Hi"));
	brain_session_delete(k->brain, id_str(&k->session), on_deleted, k);
	kit_until(k, k->n_answers == had + 2);
	assert_int_equal(k->kind, ERR_INVALID);
	kit_until(k, k->n_requests == 1);
}

/* ---- subscribers ---- */

struct heard {
	struct kit *k;
	struct brain_sub *sub;
	struct buf text; /* "ID name;" of each record, previews without an id */
	bool ended;
};

static void
on_record(void *arg, struct rc_bytes *record, bool droppable)
{
	struct heard *h = arg;
	struct str rest = str_n(record->p, record->n), id = STR("");
	while (rest.p != NULL && rest.n > 0) {
		struct str line = str_next(&rest, '\n');
		if (str_starts(line, STR("id: ")))
			id = str_sub(line, 4, line.n);
		if (str_starts(line, STR("event: ")))
			buf_printf(&h->text, "%.*s%s%.*s;", STRF(id), droppable ? "~" : " ",
				STRF(str_sub(line, 7, line.n)));
	}
	loop_stop(h->k->loop);
}

static void
on_end(void *arg)
{
	struct heard *h = arg;
	h->ended = true;
	h->sub = NULL;
}

static void
hear(struct kit *k, struct heard *h, unsigned previews)
{
	struct brain_sub_opts o = {.previews = previews, .arg = h, .on_record = on_record, .on_end = on_end};
	*h = (struct heard){.k = k};
	buf_init(&h->text, 1 * MIB);
	assert_int_equal(brain_subscribe(k->brain, id_str(&k->session), &o, &h->sub, &k->err), 0);
}

static void
heard_done(struct heard *h)
{
	brain_unsubscribe(h->sub);
	buf_done(&h->text);
}

static bool
has_heard(const struct heard *h, const char *what)
{
	return str_find_str(buf_str(&h->text), str_z(what)) < h->text.n;
}

static void
streams_in_order(void **state)
{
	struct kit *k = *state;
	struct heard plain, full;
	hear(k, &plain, 0);
	hear(k, &full, BRAIN_PREVIEW_MESSAGE);
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	KIT_SAY(k, 0);
	kit_until(k, kit_idle(k));
	assert_str(buf_str(&plain.text),
		"2 user.message;3 session.status_running;4 session.thread_status_running;5 user.message;"
		"6 span.model_request_start;7 agent.message;8 span.model_request_end;"
		"9 session.thread_status_idle;10 session.usage;11 session.status_idle;");
	assert_true(
		has_heard(&full, "6 span.model_request_start;~event_start;~event_delta;7 agent.message;"));
	heard_done(&plain);
	heard_done(&full);
}

/* A message that a process before this one acknowledged is shown a second time, with its body, when it is
 * processed: even if a client's own append says so before the run has read the log. */
static void
streams_what_waited(void **state)
{
	struct kit *k = *state;
	struct heard h;
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	kit_say(k, "meanwhile");
	kit_refuse(k, 0, 529, "{}");
	kit_until(k, kit_count(k, EV_SESSION_STATUS_RESCHEDULED) == 1);
	assert_int_equal(kit_state(k)->turn.n_queued, 1);
	uint64_t at = kit_state(k)->turn.retry_at_us;
	kit_restart(k);
	while (clock_wall_us() < at)
		poll(NULL, 0, 10);
	hear(k, &h, 0);
	kit_say(k, "more");
	kit_until(k, kit_count(k, EV_USER_MESSAGE) == 3 && has_heard(&h, "span.model_request_start;"));
	/* The one that waited, and the new one twice. */
	size_t n = 0;
	for (struct str rest = buf_str(&h.text); rest.p != NULL && rest.n > 0;)
		n += str_ends(str_next(&rest, ';'), STR(" user.message"));
	assert_int_equal(n, 3);
	heard_done(&h);
}

static void
subscribers_keep_no_fold(void **state)
{
	struct kit *k = *state;
	struct id first = k->session;
	struct heard h;
	hear(k, &h, 0);
	touch(k, 150);
	k->session = first;
	assert_null(kit_state(k));
	kit_say(k, "Hi");
	assert_true(has_heard(&h, "2 user.message;"));
	heard_done(&h);
}

static void
streams_the_deletion(void **state)
{
	struct kit *k = *state;
	struct heard a, b;
	hear(k, &a, 0);
	hear(k, &b, 0);
	assert_int_equal(delete_now(k), ERR_NONE);
	assert_true(a.ended && b.ended);
	assert_str(buf_str(&a.text), " session.deleted;");
	heard_done(&a);
	heard_done(&b);
}

/* ---- the end ---- */

/* Appends, loads and requests that are under way when the role ends. */
static void
ends_in_the_middle(void **state)
{
	struct kit *k = *state;
	struct id other = kit_create(k);
	struct heard h;
	hear(k, &h, 0);
	kit_say(k, "Hi");
	kit_until(k, k->n_requests == 1);
	KIT_SAY(k, 0);
	for (int i = 0; i < 5; i++)
		kit_send(k, other, MESSAGE("x"));
	size_t had = k->n_answers;
	kit_restart(k);
	assert_true(k->n_answers > had);
	buf_done(&h.text); /* the subscription ended with the brain */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BRAIN_TEST(says_hello),
		BRAIN_TEST(runs_tools),
		BRAIN_TEST(shows_files),
		BRAIN_TEST(keeps_the_sandbox),
		BRAIN_TEST(retries_when_overloaded),
		BRAIN_TEST(gives_up_when_refused),
		BRAIN_TEST(survives_the_gate),
		BRAIN_TEST(interrupts_a_request),
		BRAIN_TEST(interrupts_a_tool),
		BRAIN_TEST(interrupts_a_claim),
		BRAIN_TEST(interrupts_a_wait),
		BRAIN_TEST(collects_after_a_loss),
		BRAIN_TEST(says_when_it_is_unknown),
		BRAIN_TEST(claims_again_after_a_loss),
		BRAIN_TEST(answers_a_failed_start),
		BRAIN_TEST(claims_once_for_all_fenced),
		BRAIN_TEST(distrusts_a_cancellation),
		BRAIN_TEST(collects_after_a_restart),
		BRAIN_TEST(asks_again_after_a_restart),
		BRAIN_TEST(two_messages_at_once),
		BRAIN_TEST(many_messages_at_once),
		BRAIN_TEST(evicts_and_reloads),
		BRAIN_TEST(keeps_the_busy),
		BRAIN_TEST(unknown_sessions),
		BRAIN_TEST(deletes),
		BRAIN_TEST(deletes_without_hands),
		BRAIN_TEST(deletes_while_written),
		BRAIN_TEST(streams_in_order),
		BRAIN_TEST(streams_what_waited),
		BRAIN_TEST(subscribers_keep_no_fold),
		BRAIN_TEST(streams_the_deletion),
		BRAIN_TEST(ends_in_the_middle),
	};
	return cmocka_run_group_tests_name("brain", tests, NULL, NULL);
}
