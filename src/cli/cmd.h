/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the `pinfold` binary. A command file (cmd_x.c, or serve.c, config.c, role.c) defines a table
 * `const struct cmd cmds_x[]` ended by a zeroed entry and is named once in cmd_list.h; main.c finds the entry
 * by the words on the command line, longest name first. Exit codes come from the error table (base/err.h).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct cmd_opt;

struct cmd {
	const char *name;    /* words as typed: "serve", "sessions tail" */
	const char *args;    /* shown after the name in usage: "[--data DIR] ID"; "" for none */
	const char *summary; /* one line without full stop; NULL: the command is not listed */
	/* argv[0] is the last word of the name, then what followed on the command line; argv[argc] is NULL.
	 * Returns the exit code. */
	int (*run)(const struct cmd *c, int argc, char **argv);
	/* Optional: the options, for help, parsing and completion; ended by a zeroed entry. */
	const struct cmd_opt *opts;
	const char *help; /* optional: more text for --help */
};

/* One option. With an `arg` the `const char *` at `offset` of the command's own option struct is set; without
 * one the `bool` there becomes true. */
struct cmd_opt {
	const char *name; /* without the dashes: "data" */
	const char *arg;  /* "DIR", or NULL for a switch */
	const char *help;
	size_t offset;
};

/* What cmd_parse found. */
enum cmd_parsed { CMD_RUN, CMD_DONE };

/*
 * Parses "--name value", "--name=value", "--name", "--" and "--help" (printed: CMD_DONE) into the struct at
 * `into` (zeroed or holding the defaults) by c->opts. The other words are moved to argv[1..] and *argc
 * becomes their number + 1. A later option of the same name wins. Returns CMD_RUN, CMD_DONE or -ERR_INVALID.
 */
int cmd_parse(const struct cmd *c, int *argc, char **argv, void *into, struct err *e);

/* Are there exactly `n` (0 or 1) arguments, with what cmd_parse left? ERR_INVALID says which is missing or
 * too much. */
int cmd_arity(const struct cmd *c, int argc, char **argv, int n, struct err *e);

/* Writes "usage: pinfold NAME ARGS", the summary and the options to `fd`. */
void cmd_usage(const struct cmd *c, int fd);

/* Prints "pinfold: message" to stderr (with a hint for usage errors) and returns the kind's exit code. */
int cmd_fail(const struct cmd *c, const struct err *e);

/* Calls fn for every command in table order, hidden ones too; stops when fn returns false. For completion and
 * help. */
void cmd_each(bool (*fn)(void *arg, const struct cmd *c), void *arg);
