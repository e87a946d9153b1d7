/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of io/confine: the two parts that have tables of their own. */
#pragma once

#include "io/confine.h"

/* Restricts the file system and TCP of the process. Needs no_new_privs. */
int confine_landlock(const struct confine_opts *o, struct err *e);

/* Loads the profile's system call filter; the last step. */
int confine_seccomp(enum confine_profile profile, struct err *e);
