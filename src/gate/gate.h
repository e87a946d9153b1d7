/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The role `gate`: carries model requests of control to their providers and adds the provider's key, which
 * nobody else holds. The only role with a network. One thread, no store. Messages: enum gate_msg in
 * io/calls.h.
 *
 * Configuration slice (JSON):
 *
 *   providers[]  name, url (without "/v1/messages"), auth ("x-api-key", "bearer" or "none"),
 *                secret (name of the LEASH_SECRET with the key; absent: none),
 *                key_from (where the operator should put a missing key, for messages),
 *                proxy (URL of an HTTP proxy), idle_ms and total_ms (absent: those below)
 *   uid, gid     what to become (0: stay)
 *   idle_ms      no byte for so long ends a call (LIM_MODEL_IDLE_MS)
 *   total_ms     so does an answer that is not complete after this (LIM_MODEL_TOTAL_MS)
 *   connect_ms   resolve, connect and TLS (15000)
 *
 * Peer: "control".
 */
#pragma once

/* Runs the role until the leash ends; returns the process's exit code. */
int gate_main(void);
