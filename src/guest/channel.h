/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the connection to hands: dials, says HELLO, keeps the resume key, cuts the byte stream
 * into frames, and dials again for ever. What it reads comes from outside the sandbox, but a tool may have
 * answered the dial: until WELCOME nothing but WELCOME is accepted, and whatever does not parse ends the
 * connection, never the process.
 */
#pragma once

#include "base/frame.h"
#include "guest/reactor.h"

#define CHANNEL_KEY 128

struct channel;

struct channel_opts {
	struct reactor *reactor;
	const char *socket; /* path, borrowed; relative to the working directory of the process */
	uint64_t pid, started_us;
	/* GC_WELCOME's limits: processes, memory, file size of a tool. Called on each connection. */
	void (*welcome)(void *owner, uint64_t procs, uint64_t memory, uint64_t file);
	/* Any later frame. False: it breaks the protocol, the connection is dropped. */
	bool (*frame)(void *owner, const struct frame *f);
	/* The connection is gone; call ids of before mean nothing any more. */
	void (*lost)(void *owner);
	void *owner;
};

/* Dials at once. NULL: out of memory. */
struct channel *channel_new(const struct channel_opts *o);
void channel_free(struct channel *ch);

/* The buffer to encode frames into, or NULL while nobody listens; then channel_flush. */
struct buf *channel_out(struct channel *ch);
void channel_flush(struct channel *ch);

/* Reports trouble of the guest itself; kept (the first one) until it can be sent. */
void channel_trouble(struct channel *ch, const char *step, const char *message);
