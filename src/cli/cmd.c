/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

#include "cli/cmd_list.h"

#define X(name) cmds_##name,
static const struct cmd *const tables[] = {CMD_LIST(X)};
#undef X

void
cmd_each(bool (*fn)(void *arg, const struct cmd *c), void *arg)
{
	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		for (const struct cmd *c = tables[i]; c->name; c++)
			if (!fn(arg, c))
				return;
}

/* The option that `word` ("--name" or "--name=value") names; *value is what stands after '='. */
static const struct cmd_opt *
find_opt(const struct cmd *c, const char *word, const char **value)
{
	struct str rest = str_z(word + 2);
	struct str name = str_next(&rest, '=');
	*value = rest.p;
	for (const struct cmd_opt *o = c->opts; o && o->name; o++)
		if (str_eqz(name, o->name))
			return o;
	return NULL;
}

struct words {
	int argc;
	char **argv;
	int i; /* the present one */
};

/* Sets the option at the present word; moves on when the value is the next one. */
static int
take_opt(const struct cmd *c, struct words *w, void *into, struct err *e)
{
	const char *value = NULL;
	const struct cmd_opt *o = find_opt(c, w->argv[w->i], &value);
	if (!o)
		return err_set(e, ERR_INVALID, "unknown option %.100s", w->argv[w->i]);
	char *at = (char *)into + o->offset;
	if (!o->arg) {
		if (value)
			return err_set(e, ERR_INVALID, "--%s takes no value", o->name);
		bool on = true;
		memcpy(at, &on, sizeof(on));
		return 0;
	}
	if (!value) {
		if (w->i + 1 >= w->argc)
			return err_set(
				e, ERR_INVALID, "--%s needs a value: --%s %s", o->name, o->name, o->arg);
		value = w->argv[++w->i];
	}
	memcpy(at, &value, sizeof(value));
	return 0;
}

int
cmd_parse(const struct cmd *c, int *argc, char **argv, void *into, struct err *e)
{
	struct words w = {*argc, argv, 1};
	int n = 1;
	bool literal = false;
	for (; w.i < w.argc; w.i++) {
		const char *word = argv[w.i];
		if (literal || word[0] != '-' || word[1] == 0) {
			argv[n++] = argv[w.i];
		} else if (strcmp(word, "--") == 0) {
			literal = true;
		} else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			cmd_usage(c, 1);
			return CMD_DONE;
		} else if (word[1] != '-') {
			return err_set(e, ERR_INVALID, "unknown option %.100s", word);
		} else {
			int rc = take_opt(c, &w, into, e);
			if (rc < 0)
				return rc;
		}
	}
	*argc = n;
	argv[n] = NULL;
	return CMD_RUN;
}

int
cmd_arity(const struct cmd *c, int argc, char **argv, int n, struct err *e)
{
	if (argc - 1 < n)
		return err_set(e, ERR_INVALID, "%s needs %s", c->name, c->args);
	if (argc - 1 > n)
		return err_set(e, ERR_INVALID, "%s takes %s argument: \"%.80s\" is too much", c->name,
			n == 0 ? "no" : "one", argv[n + 1]);
	return 0;
}

void
cmd_usage(const struct cmd *c, int fd)
{
	dprintf(fd, "usage: pinfold %s%s%s\n", c->name, c->args && *c->args ? " " : "",
		c->args ? c->args : "");
	if (c->summary)
		dprintf(fd, "\n%s.\n", c->summary);
	if (c->opts && c->opts->name)
		dprintf(fd, "\noptions:\n");
	for (const struct cmd_opt *o = c->opts; o && o->name; o++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		dprintf(fd, "  %-24s %s\n", left, o->help);
	}
	if (c->help)
		dprintf(fd, "\n%s", c->help);
}

int
cmd_fail(const struct cmd *c, const struct err *e)
{
	dprintf(2, "pinfold: %s\n", e->msg);
	if (c && e->kind == ERR_INVALID)
		dprintf(2, "try: pinfold %s --help\n", c->name);
	return err_exit_code(e->kind);
}
