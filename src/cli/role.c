/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pinfold role NAME LEVEL`: what the supervisor executes. Not for people: without a leash on descriptor 3 it
 * fails.
 */
#include <signal.h>

#include "base/log.h"
#include "cli/cmd.h"
#include "control/control.h"
#include "gate/gate.h"
#include "hands/hands.h"
#include "puppet/puppet.h"

static const struct {
	const char *name;
	int (*run)(void);
} roles[] = {
	{"control", control_main},
	{"gate", gate_main},
	{"hands", hands_main},
	{"puppet", puppet_main},
};

static enum log_level
level_of(const char *name)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};

	for (size_t i = 0; name && i < ARRAY_LEN(names); i++)
		if (str_eqz(str_z(name), names[i]))
			return (enum log_level)i;
	return LOG_INFO;
}

static int
run_role(const struct cmd *c, int argc, char **argv)
{
	struct err e;

	/* The operator's log may be a pipe whose reader goes away. */
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(roles); i++)
		if (str_eqz(str_z(argv[1]), roles[i].name)) {
			log_setup(roles[i].name, level_of(argc > 2 ? argv[2] : NULL), 2);
			return roles[i].run();
		}
	err_set(&e, ERR_INVALID, "there is no role %.60s", argc > 1 ? argv[1] : "without a name");
	return cmd_fail(c, &e);
}

const struct cmd cmds_role[] = {
	{.name = "role", .args = "NAME", .run = run_role},
	{.name = NULL},
};
