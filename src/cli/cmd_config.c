/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cmd.h"
#include "cli/config.h"

static int
run_check(const struct cmd *c, int argc, char **argv)
{
	AUTO(config) struct config *config = NULL;
	struct err e = {0};
	int rc = cmd_parse(c, &argc, argv, NULL, &e);

	if (rc == CMD_DONE)
		return 0;
	rc = rc == 0 ? cmd_arity(c, argc, argv, 1, &e) : rc;
	if (rc < 0)
		return cmd_fail(c, &e);
	rc = config_load(argv[1], &config, &e);
	if (rc < 0)
		return cmd_fail(NULL, &e);
	printf("%s is fine: %u providers, %u models, listening on %s, data in %s\n", argv[1],
		config->n_providers, config->n_models, config->listen, config->data);
	return 0;
}

const struct cmd cmds_config[] = {
	{.name = "config check",
		.args = "FILE",
		.summary = "Check a server configuration file",
		.run = run_check},
	{.name = NULL},
};
