/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec of role calls (supervise, control, hands, gate, guest): pure functions over memory.
 *
 * Wire form, little endian:  u32 payload length | u16 type | u16 flags | u64 call id | payload.
 * The payload is a sequence of fields: u64 (8 bytes) and byte strings (u32 length + bytes), in the order that
 * the message's definition in io/calls.h or base/guest_call.h states. Readers fail on short, over-long and
 * left-over payloads. Flag FRAME_FD: one descriptor travels with the frame (SCM_RIGHTS).
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define FRAME_HEAD 16
#define FRAME_FD   1u

struct frame {
	uint16_t type;
	uint16_t flags;
	uint64_t call;
	struct str payload; /* borrowed from the input */
};

/* Looks for a whole frame at the start of `in`. 1: found, *out filled, *used = its length. 0: more bytes are
 * needed. <0: ERR_CORRUPT (unknown flag) or ERR_TOO_LARGE (payload over `max`). */
int frame_parse(struct str in, size_t max, struct frame *out, size_t *used, struct err *e);

/* ---- writing: begin, fields, end ---- */

struct frame_w {
	struct buf *b;
	size_t head; /* where this frame's head begins in b */
};

/* Starts a frame at the end of `b`. */
struct frame_w frame_begin(struct buf *b, uint16_t type, uint64_t call);
void frame_u64(struct frame_w *w, uint64_t v);
void frame_str(struct frame_w *w, struct str s);
/* Completes the length; `flags` is 0 or FRAME_FD. After a failure, which stays in the buf's sticky flag, the
 * buf is cut back to where the frame began. */
void frame_end(struct frame_w *w, uint16_t flags);

/* ---- reading ---- */

struct frame_r {
	struct str rest;
	bool bad; /* sticky */
};

/* A reader over a payload. */
struct frame_r frame_r(struct str payload);
uint64_t frame_get_u64(struct frame_r *r);   /* 0 after a failure */
struct str frame_get_str(struct frame_r *r); /* borrowed; empty after a failure */
/* As frame_get_str, but also fails when longer than `max`. */
struct str frame_get_str_max(struct frame_r *r, size_t max);
/* 0 when every field was there and nothing is left; else ERR_CORRUPT. */
int frame_done(const struct frame_r *r, struct err *e);
