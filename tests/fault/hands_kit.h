/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the role hands as supervise would (its own PID and mount namespaces, confined, over a socket pair) and
 * plays control towards it, blocking and in order, for fault, escape and bench drivers. Needs root, runsc, an
 * image and the guest binary:
 *
 *   PINFOLD_IMAGE   image directory (default .work/images/default)
 *   PINFOLD_GUEST   guest binary (default: the build's)
 *   PINFOLD_RUNSC   runtime (default /usr/bin/runsc)
 */
#pragma once

#include "base/buf.h"
#include "base/frame.h"
#include "base/id.h"
#include "hands/step.h"

#define KIT_MS 60000

struct kit_msg {
	struct kit_msg *next;
	uint16_t type;
	uint64_t call;
	struct str payload; /* owned */
	int fd;
};

struct kit {
	char dir[256]; /* scratch: data/, run/ */
	char config[4096];
	int init;    /* pid of the namespace's first process */
	int command; /* to it */
	int fd;      /* to hands */
	int in_ns;   /* number of hands started */
	struct kit_limits {
		uint64_t memory, pids, disk, cpu_milli;
	} limits; /* of later claims; 0: defaults */
	uint64_t next_call;
	struct kit_msg *queue; /* received, not asked for yet */
	struct buf in;
	int in_fds[64];
	int n_in_fds;
};

/* `extra`: members for the configuration, each with a leading comma, or "". Prints why and exits 77 when
 * something is missing here. */
void kit_start(struct kit *k, const char *name, const char *extra);
/* Ends hands orderly (closes everything) and removes the scratch. */
void kit_stop(struct kit *k);
/* kill -9 of hands, then a new one on the same directories. */
void kit_restart(struct kit *k);
/* kill -9 of the namespace's first process (supervise), with which everything dies, then all of it anew. */
void kit_reboot(struct kit *k);
/* Waits for HANDS_STATUS whose state is not "probing"; the JSON in `b`. */
void kit_status(struct kit *k, struct buf *b);

/* Waits until the pool has a READY sandbox (by the status messages). */
void kit_wait_warm(struct kit *k);

/* The next message that the session's sandbox ended (others are dropped) / of an output file; NULL after
 * `ms`. The caller frees. */
struct kit_msg *kit_wait_gone(struct kit *k, const char *session, int ms);
struct kit_msg *kit_wait_output(struct kit *k, int ms);
void kit_msg_free(struct kit_msg *m);

struct kit_file {
	const char *id, *path, *content;
};

struct kit_files {
	const struct kit_file *list;
	size_t n;
};

struct kit_claim {
	uint64_t generation, how, us;
	uint64_t failed; /* error kind; 0: claimed */
	char step[64], message[512];
};

/* `files`: NULL for none. */
void kit_send_claim(struct kit *k, const char *session, const struct kit_files *files);
void kit_claim(struct kit *k, const char *session, const struct kit_files *files, struct kit_claim *out);

struct kit_result {
	uint64_t status, is_error, full_length, run_us;
	char *text; /* owned, NUL-terminated */
	uint64_t failed;
	char step[64], message[512];
};

struct kit_call {
	const char *session;
	uint64_t generation;
	const char *exec_id, *tool, *input;
	uint64_t timeout_ms;
};

uint64_t kit_send_execute(struct kit *k, const struct kit_call *c);
/* Waits until the tool printed something. */
void kit_wait_printed(struct kit *k, uint64_t call);
void kit_get_result(struct kit *k, uint64_t call, int ms, struct kit_result *out);
void kit_result_done(struct kit_result *r);
/* Execute and wait. */
void kit_execute(struct kit *k, const struct kit_call *c, struct kit_result *out);
/* bash with this command line. */
void kit_bash(
	struct kit *k, const char *session, uint64_t generation, const char *command, struct kit_result *out);
void kit_ack(struct kit *k, const char *session, const char *exec_id);
uint64_t kit_send_collect(struct kit *k, const char *session, const char *exec_id);
void kit_cancel(struct kit *k, const char *session, uint64_t generation, const char *exec_id);
void kit_release(struct kit *k, const char *session, bool destroy);

/* A condition of the test; prints and exits 1 when it does not hold. */
#define KIT_CHECK(cond, ...)                                              \
	do {                                                              \
		if (!(cond))                                              \
			kit_fail(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)
NORETURN void kit_fail(const char *file, int line, const char *cond, const char *fmt, ...) PRINTF_FMT(4, 5);
