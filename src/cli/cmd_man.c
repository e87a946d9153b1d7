/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hidden command `man`: the manual page pinfold(1) in troff, from the command table.
 */
#include <stdio.h>

#include "cli/cmd.h"

/* Text that troff takes literally. */
static void
put(struct str s)
{
	bool start = true;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (start && (c == '.' || c == '\''))
			fputs("\\&", stdout);
		if (c == '-')
			fputs("\\-", stdout);
		else if (c == '\\')
			fputs("\\e", stdout);
		else
			putchar(c);
		start = c == '\n';
	}
}

static void
put_z(const char *z)
{
	put(str_z(z));
}

static bool
each_cmd(void *arg, const struct cmd *c)
{
	(void)arg;
	if (!c->summary)
		return true;
	printf(".SS ");
	put_z(c->name);
	printf("\n.B pinfold ");
	put_z(c->name);
	if (c->args && *c->args) {
		printf("\n.I ");
		put_z(c->args);
	}
	printf("\n.PP\n");
	put_z(c->summary);
	printf(".\n");
	if (c->help) {
		printf(".PP\n.nf\n");
		put_z(c->help);
		printf("\n.fi\n");
	}
	for (const struct cmd_opt *o = c->opts; o && o->name; o++) {
		printf(".TP\n.B \\-\\-");
		put_z(o->name);
		if (o->arg) {
			putchar(' ');
			put_z(o->arg);
		}
		putchar('\n');
		put_z(o->help);
		putchar('\n');
	}
	return true;
}

static const char intro[] =
	".SH NAME\n"
	"pinfold \\- self\\-hosted managed agents\n"
	".SH SYNOPSIS\n"
	".B pinfold\n"
	".I COMMAND\n"
	"[options]\n"
	".SH DESCRIPTION\n"
	"Agents think outside, their tools run in gVisor sandboxes, and every step lands in a durable log. "
	"Programs "
	"written with the official SDK of the hosted service run unchanged when their base URL points here.\n"
	".SH COMMANDS\n";

static const char outro[] =
	".SH ENVIRONMENT\n"
	".TP\n.B PINFOLD_URL\nAddress of the server for commands that call one.\n"
	".TP\n.B PINFOLD_API_KEY\nKey for such commands.\n"
	".TP\n.B NO_COLOR\nNo colours, even on a terminal.\n"
	".SH FILES\n"
	".TP\n.I /etc/pinfold/pinfold.yaml\nConfiguration of the server, if there is one.\n"
	".TP\n.I /var/lib/pinfold\nData directory of the server. "
	"admin.key holds the first API key, listen the address.\n"
	".SH EXIT STATUS\n"
	"0: done. 64: wrong use or refused input. 66: not found. 69: the server or something it needs is "
	"away. "
	"75: try again. 77: not allowed. Others follow sysexits.h.\n";

static int
run_man(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	int rc = cmd_parse(c, &argc, argv, NULL, &e);

	if (rc < 0)
		return cmd_fail(c, &e);
	if (rc == CMD_DONE)
		return 0;
	printf(".TH PINFOLD 1 \"\" \"pinfold %s\" \"User Commands\"\n", PINFOLD_VERSION);
	fputs(intro, stdout);
	cmd_each(each_cmd, NULL);
	fputs(outro, stdout);
	return 0;
}

const struct cmd cmds_man[] = {
	{.name = "man", .args = "", .run = run_man},
	{.name = NULL},
};
