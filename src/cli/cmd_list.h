/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file that defines commands, in the order of `pinfold --help`: X(name) stands for `const struct cmd
 * cmds_name[]`.
 */
#pragma once

#include "cli/cmd.h"

#define CMD_LIST(X)   \
	X(serve)      \
	X(run)        \
	X(objects)    \
	X(events)     \
	X(keys)       \
	X(config)     \
	X(image)      \
	X(doctor)     \
	X(completion) \
	X(man)        \
	X(role)

#define X(name) extern const struct cmd cmds_##name[];
CMD_LIST(X)
#undef X
