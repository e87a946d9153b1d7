/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"

struct lookup {
	int argc;
	char **argv;
	const struct cmd *found;
	int words; /* of the found name */
};

/* How many words of `name` stand at the front of argv[1..]; 0 unless all do. */
static int
match_words(const char *name, int argc, char **argv)
{
	struct str rest = str_z(name);
	int n = 0;
	while (rest.p) {
		struct str word = str_next(&rest, ' ');
		if (n + 1 >= argc || !str_eqz(word, argv[n + 1]))
			return 0;
		n++;
	}
	return n;
}

static bool
try_cmd(void *arg, const struct cmd *c)
{
	struct lookup *k = arg;
	int n = match_words(c->name, k->argc, k->argv);
	if (n > k->words) {
		k->words = n;
		k->found = c;
	}
	return true;
}

static bool
print_cmd(void *arg, const struct cmd *c)
{
	const char *group = arg;
	if (!c->summary)
		return true;
	if (group && !(strncmp(c->name, group, strlen(group)) == 0 && c->name[strlen(group)] == ' '))
		return true;
	printf("  %-24s %s\n", c->name, c->summary);
	return true;
}

static void
help(void)
{
	printf("usage: pinfold COMMAND [options]\n\n"
	       "A self-hosted managed-agents platform: agents think outside, their tools run in gVisor "
	       "sandboxes.\n\n");
	cmd_each(print_cmd, NULL);
	printf("\n`pinfold COMMAND --help` tells more. `pinfold --version` prints the version.\n");
}

static bool
in_group(void *arg, const struct cmd *c)
{
	struct lookup *k = arg;
	size_t n = strlen(k->argv[1]);
	if (strncmp(c->name, k->argv[1], n) != 0 || c->name[n] != ' ')
		return true;
	k->found = c;
	return false;
}

/* argv[1] is no command, but maybe the first word of some ("sessions"): lists them. */
static int
unknown(int argc, char **argv)
{
	struct lookup k = {argc, argv, NULL, 0};
	cmd_each(in_group, &k);
	if (!k.found) {
		dprintf(2, "pinfold: unknown command %.100s\ntry: pinfold --help\n", argv[1]);
		return err_exit_code(ERR_INVALID);
	}
	bool asked = argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
	if (argc > 2 && !asked) {
		dprintf(2, "pinfold: unknown command %.100s %.100s\ntry: pinfold %.100s --help\n", argv[1],
			argv[2], argv[1]);
		return err_exit_code(ERR_INVALID);
	}
	printf("usage: pinfold %s COMMAND [options]\n\n", argv[1]);
	cmd_each(print_cmd, argv[1]);
	fflush(stdout);
	return asked ? 0 : err_exit_code(ERR_INVALID);
}

/* Descriptors 0..2 must exist: otherwise the next socket would become somebody's stdout. */
static int
hold_std_fds(void)
{
	for (;;) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -1;
		if (fd > 2) {
			close(fd);
			return 0;
		}
		fcntl(fd, F_SETFD, 0);
	}
}

int
main(int argc, char **argv)
{
	if (hold_std_fds() < 0)
		return err_exit_code(ERR_IO);
	if (argc < 2) {
		help();
		return err_exit_code(ERR_INVALID);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		help();
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
		printf("pinfold %s\n", PINFOLD_VERSION);
		return 0;
	}
	struct lookup k = {argc, argv, NULL, 0};
	cmd_each(try_cmd, &k);
	if (!k.found)
		return unknown(argc, argv);
	return k.found->run(k.found, argc - k.words, argv + k.words);
}
