/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The role `puppet`: a scripted model behind the real protocol (POST /v1/messages, GET /v1/models over HTTP),
 * stateless. What it says follows from the request alone: docs/puppet.md. It holds nothing, opens nothing and
 * connects to nobody.
 *
 * Configuration slice (JSON): uid, gid. Inherits the listening socket "api".
 */
#pragma once

/* Runs the role until the leash ends; returns the process's exit code. */
int puppet_main(void);
