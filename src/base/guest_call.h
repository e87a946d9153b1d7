/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls between `hands` (outside) and `guest` (PID 1 of the sandbox): message numbers and the order of
 * their fields, in the codec of base/frame.h, over one Unix stream socket that guest dials (GUEST_SOCKET) and
 * redials for ever.
 *
 * Trust: hands treats every byte from guest as hostile. Only messages marked (guest) are accepted from guest,
 * in the state given, at most LIM_FRAME_GUEST long; anything else drops the connection and counts as a lost
 * sandbox.
 *
 * Identity: the first connection after the start is guest's, because it is made before any tool runs. hands
 * answers its HELLO with a random resume key that only guest's memory holds (guest is not dumpable); a later
 * connection must show that key, so a tool process that dials the socket is refused. A refused dial is
 * logged.
 *
 * At most once: `exec_id` is the id of the agent.tool_use event. guest keeps finished results by exec_id
 * until GC_ACK (bounded by LIM_GUEST_RESULTS, then the oldest is spilled to GUEST_RESULTS_DIR); a second
 * GC_EXECUTE with a known exec_id returns the known result, or joins the running one, and never runs the tool
 * again.
 */
#pragma once

#define GUEST_PROTOCOL    1
#define GUEST_SOCKET      "/run/pinfold/hands.sock"
#define GUEST_RESULTS_DIR "/run/pinfold/results"
#define GUEST_BINARY      "/run/pinfold/guest" /* the static binary, mounted read-only */
#define GUEST_WORKDIR     "/workspace"
#define GUEST_UPLOADS     "/mnt/session/uploads"
#define GUEST_OUTPUTS     "/mnt/session/outputs"
#define GUEST_OFFLOAD_DIR "/mnt/session/tool_results"

/* status of GC_RESULT */
enum guest_status {
	GUEST_OK = 0,        /* the tool ran; is_error tells how it went */
	GUEST_CANCELLED = 1, /* stopped by GC_CANCEL */
	GUEST_UNKNOWN = 2,   /* answer to GC_COLLECT: never heard of this exec_id */
	GUEST_RUNNING = 3,   /* answer to GC_COLLECT: not finished; the result will follow by itself */
};

enum guest_msg {
	/* (guest) u64 protocol, str resume_key ("" on the first connection), u64 pid of the guest, u64
	   mono_us of its start */
	GC_HELLO = 1,
	/* str resume_key, u64 tool_procs, u64 tool_memory_bytes, u64 tool_file_bytes (0: unlimited) */
	GC_WELCOME = 2,
	/* call id set. str exec_id, str tool, str input JSON, u64 timeout_ms (0: the tool's default) */
	GC_EXECUTE = 3,
	/* (guest) str exec_id, str bytes: a piece of what the tool prints while it runs; best effort, never
	   the result */
	GC_OUTPUT = 4,
	/* (guest) same call id. str exec_id, u64 status, u64 is_error, str text (UTF-8, <= LIM_RESULT_OFFLOAD
	 * bytes of preview or the whole text), str offload path ("" when whole), u64 full length in
	 * characters, u64 run_us */
	GC_RESULT = 5,
	/* str exec_id: stop it; GC_RESULT follows */
	GC_CANCEL = 6,
	/* call id set. str exec_id: send its result again, or its state */
	GC_COLLECT = 7,
	/* str exec_id: forget its result */
	GC_ACK = 8,
	/* either way, empty; the peer answers with GC_PONG of the same call id */
	GC_PING = 9,
	GC_PONG = 10,
	/* (guest) str step, str message: diagnostics of guest itself */
	GC_TROUBLE = 11,
};
