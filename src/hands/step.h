/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a claim, in order. A start that fails names the one it failed at; the words go to control, to
 * the model and to the operator.
 */
#pragma once

#define HANDS_STEPS(X)                                                                  \
	X(NONE, "")                                                                     \
	X(PLATFORM, "platform")   /* no runsc platform starts a sandbox here */         \
	X(IMAGE, "image")         /* the image or layer is missing */                   \
	X(WORKSPACE, "workspace") /* the session's disk could not be made or mounted */ \
	X(MOUNT, "mount")         /* the overlay over the image */                      \
	X(CGROUP, "cgroup")       /* limits */                                          \
	X(BUNDLE, "bundle")       /* config.json, socket, guest binary */               \
	X(UPLOAD, "upload")       /* a file could not be put in place */                \
	X(RUNSC, "runsc")         /* the runtime said no */                             \
	X(HELLO, "guest-hello")   /* the sandbox runs but guest never dialed */         \
	X(EXECUTE, "execute")     /* not a start: the call itself */                    \
	X(GONE, "gone")           /* not a start: the sandbox ended under the call */

enum hands_step {
#define X(name, text) STEP_##name,
	HANDS_STEPS(X)
#undef X
		STEP_COUNT
};

/* The word for a step; static. */
const char *hands_step_name(enum hands_step s);
