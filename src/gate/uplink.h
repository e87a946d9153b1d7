/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests to providers: libcurl's multi interface on the loop. Streams the response as it comes, reuses
 * connections, ends a call that is silent or lasts for too long. One object in the gate; all on the loop's
 * thread.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "gate/provider.h"
#include "io/calls.h"
#include "io/loop.h"

struct uplink;
struct uplink_call;

struct uplink_head {
	int status;
	struct str content_type;
	struct str request_id;
	bool has_retry_after;
	uint64_t retry_after_ms;
};

struct uplink_end {
	enum gate_outcome outcome;
	struct str text;   /* for people; "" when complete. Never holds a key */
	uint64_t sent_us;  /* from `asked_us` to the request leaving; 0: it did not leave */
	uint64_t first_us; /* from `asked_us` to the first byte of the response; 0: none came */
};

struct uplink_opts {
	void *owner;
	uint64_t idle_ms, total_ms; /* where a provider has none of its own */
	uint64_t connect_ms;
	const char *ca_file; /* NULL: the system's */
	size_t max_response;
	/* `data` is the call's. None of these may cancel a call. */
	void (*on_head)(void *owner, void *data, const struct uplink_head *h);
	/* False: not now; the piece is given again after uplink_resume. */
	bool (*on_data)(void *owner, void *data, struct str piece);
	/* Once, last; the call is gone afterwards. */
	void (*on_end)(void *owner, void *data, const struct uplink_end *end);
};

struct uplink_request {
	const struct provider *provider;
	struct str body; /* borrowed until the end of the call */
	struct str beta; /* of the header anthropic-beta; "": none */
	uint64_t retries;
	uint64_t asked_us; /* clock_mono_us when the request was complete */
	void *data;
};

/* ERR_NO_MEMORY. At most one per process: it sets libcurl's allocator to one that wipes what it frees. */
int uplink_new(struct uplink **out, struct loop *l, const struct uplink_opts *o, struct err *e);
/* Drops all calls without on_end. */
void uplink_free(struct uplink *u);

/* Starts; on_end is not called from inside. ERR_NO_MEMORY, ERR_INVALID (header). */
int uplink_start(struct uplink *u, const struct uplink_request *r, struct uplink_call **out, struct err *e);
/* Ends the call at once with GATE_CANCELLED: on_end is called from inside. */
void uplink_cancel(struct uplink_call *c);
/* Asks again for all pieces that were refused. */
void uplink_resume(struct uplink *u);
