/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls between roles: message numbers and the order of their fields, in the codec of base/frame.h.
 * "call" means the frame's call id pairs the messages of one exchange; the caller picks it. Each receiver has
 * a permit table (io/rpc.h).
 */
#pragma once

/* ---- supervise <-> every role: the leash (descriptor LEASH_FD). Its end means: exit. ---- */

#define LEASH_FD 3

enum leash_msg {
	LEASH_CONFIG = 1, /* supervise -> role, first. str JSON of the role's configuration slice (each role
			     documents its members) */
	LEASH_LISTEN = 2, /* supervise -> role. str name ("api"), with fd: a listening socket */
	LEASH_PEER = 3, /* supervise -> role. str role name, u64 start number; with fd: a connected socket to
			   that role. Replaces the former one of that name */
	LEASH_SECRET =
		4,    /* supervise -> gate. str name, with fd: a sealed memfd whose content is the secret */
	LEASH_GO = 5, /* supervise -> role: all of the above was sent; confine and start */
	LEASH_READY = 6,  /* role -> supervise: serving. str note (shown to the operator) */
	LEASH_FAILED = 7, /* role -> supervise: cannot start. u64 err kind, str message */
	LEASH_STOP = 8,   /* supervise -> role: finish within the grace time, then exit 0 */
};

/* ---- control <-> gate: model requests ---- */

enum gate_msg {
	/* control -> gate, call. str provider, u64 body length, u64 retry count, str anthropic-beta header
	   ("" none). The path is always /v1/messages */
	GATE_MODEL_BEGIN = 32,
	GATE_MODEL_BODY = 33,   /* control -> gate, call. str piece (<= LIM_CHUNK); the last one completes the
				   length and sends the request */
	GATE_MODEL_CANCEL = 34, /* control -> gate, call. No more messages of this call follow from gate but
				   GATE_MODEL_DONE */
	/* gate -> control, call. u64 HTTP status, str content-type, str retry-after in ms as digits (""
	   none), str provider's request id */
	GATE_MODEL_HEAD = 35,
	GATE_MODEL_DATA = 36, /* gate -> control, call. str piece of the response body */
	/* gate -> control, call, always last. u64 outcome (enum gate_outcome), str text, u64 us from BEGIN's
	 * last byte to the request leaving, u64 us to the first response byte */
	GATE_MODEL_DONE = 37,
	GATE_PROVIDERS = 38, /* gate -> control once after start. str JSON: [{"name","reachable":null}], names
				only, no key, no URL secrets */
};

enum gate_outcome {
	GATE_COMPLETE = 0,    /* the response ended as HTTP says it should */
	GATE_CUT = 1,         /* the connection broke mid-response */
	GATE_UNREACHABLE = 2, /* resolve, connect or TLS failed */
	GATE_TIMEOUT = 3,     /* no byte for LIM_MODEL_IDLE_MS */
	GATE_CANCELLED = 4,
	GATE_REFUSED = 5, /* unknown provider, no key, limits */
};

/* ---- control <-> hands: sandboxes ---- */

enum hands_msg {
	/* control -> hands, call. Make sure the session has a sandbox. str session id, str image (""
	 * default), str environment layer ("" none), u64 memory, u64 pids, u64 disk, u64 cpu in thousandths
	 * (0: defaults), u64 n, then n times: str file id, str mount path (absolute, inside the sandbox), u64
	 * size */
	HANDS_CLAIM = 64,
	/* hands -> control, call. u64 n, then n file ids that hands has not yet in this session's workspace:
	   send them */
	HANDS_WANT = 65,
	/* control -> hands, call of the claim. str file id, u64 size; with fd: the content, opened read-only
	 */
	HANDS_FILE = 66,
	/* hands -> control, call. u64 generation, u64 how (0 existing, 1 warm, 2 cold, 3 rebuilt on its
	   workspace), u64 us */
	HANDS_CLAIMED = 67,
	/* hands -> control, call of CLAIM or EXECUTE that could not be done. u64 err kind, str step, str
	   message, u64 generation */
	HANDS_FAILED = 68,
	/* control -> hands, call. str session, u64 generation, str exec id, str tool, str input JSON, u64
	 * timeout_ms. A generation that is not the current one answers HANDS_FAILED with ERR_FENCED */
	HANDS_EXECUTE = 69,
	HANDS_OUTPUT = 70, /* hands -> control, call. str exec id, str piece (best effort) */
	/* hands -> control, call. str exec id, u64 guest_status, u64 is_error, str text, str offload path,
	   u64 full length, u64 run_us */
	HANDS_RESULT = 71,
	HANDS_CANCEL = 72,  /* control -> hands. str session, u64 generation, str exec id */
	HANDS_COLLECT = 73, /* control -> hands, call. str session, str exec id; answer HANDS_RESULT (maybe
			       GUEST_UNKNOWN) */
	HANDS_ACK = 74,     /* control -> hands. str session, str exec id: the result is durable, forget it */
	/* hands -> control, unasked: the sandbox ended. str session, u64 generation, str reason ("memory",
	 * "processes", "wall", "exited", "lost", "idle", "stopped"), u64 exit known (0/1), u64 exit status.
	 * All its open EXECUTE calls are answered with HANDS_FAILED */
	HANDS_GONE = 75,
	/* control -> hands, call. str session, u64 destroy (1: also delete its workspace). Answer
	   HANDS_RELEASED */
	HANDS_RELEASE = 76,
	HANDS_RELEASED = 77,
	/* hands -> control: a file below the outputs folder is new or changed. str session, str relative
	 * path, u64 size, u64 mtime_us; with fd, opened read-only. Sent after a tool ended and while the
	 * sandbox lives, at most every 2 s a file */
	HANDS_OUTPUT_FILE = 78,
	/* hands -> control after start and when it changes. str JSON: platform, network sentence, warm pool
	   size, limits in force */
	HANDS_STATUS = 79,
};
