/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion bash | zsh | fish prints a small script for the shell; the script asks the hidden command
 * `complete`, which answers from the command table. So a completion never lags behind the program.
 *
 * `complete WORD...` gets the words behind "pinfold", the last one being the unfinished one, and prints one
 * candidate a line: the word, a tab, what it is. "@file" and "@dir" tell the shell to complete paths instead.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"

struct complete {
	int n;        /* words, the unfinished one not counted */
	char **words; /* [n] is the unfinished one */
	const struct cmd *found;
	int found_words;
	struct str seen[64]; /* printed: a group of commands is named once */
	size_t n_seen;
};

static struct str
unfinished(const struct complete *k)
{
	return str_z(k->words[k->n]);
}

static void
candidate(const struct complete *k, struct str word, const char *what)
{
	if (str_starts(word, unfinished(k)))
		printf("%.*s\t%s\n", STRF(word), what ? what : "");
}

static bool
seen_before(struct complete *k, struct str word)
{
	for (size_t i = 0; i < k->n_seen; i++)
		if (str_eq(k->seen[i], word))
			return true;
	if (k->n_seen < ARRAY_LEN(k->seen))
		k->seen[k->n_seen++] = word;
	return false;
}

/* Cuts `rest` (a command's name) behind the words typed; false when they differ. *n: how many words matched.
 */
static bool
match(const struct complete *k, struct str *rest, int *n)
{
	for (*n = 0; *n < k->n && rest->p; (*n)++)
		if (!str_eqz(str_next(rest, ' '), k->words[*n]))
			return false;
	return true;
}

/* Remembers the command whose whole name was typed, and prints the next word of those whose name was begun.
 */
static bool
try_cmd(void *arg, const struct cmd *c)
{
	struct complete *k = arg;
	struct str rest = str_z(c->name);
	int n = 0;

	if (!match(k, &rest, &n))
		return true;
	if (!rest.p) {
		if (n > k->found_words) {
			k->found = c;
			k->found_words = n;
		}
		return true;
	}
	struct str word = str_next(&rest, ' ');

	if (c->summary && !seen_before(k, word))
		candidate(k, word, rest.p ? "" : c->summary);
	return true;
}

/* What may stand for "FILE", "DIR", "bash|zsh|fish"; anything else is the user's own. */
static void
complete_arg(const struct complete *k, struct str arg)
{
	if (str_find_str(arg, STR("FILE")) < arg.n || str_starts(arg, STR("PATH")))
		puts("@file");
	else if (str_find_str(arg, STR("DIR")) < arg.n)
		puts("@dir");
	else if (str_find(arg, '|') < arg.n && str_find(arg, '[') == arg.n)
		while (arg.p)
			candidate(k, str_next(&arg, '|'), "");
}

static const struct cmd_opt *
option_before(const struct complete *k)
{
	struct str word = k->n > k->found_words ? str_z(k->words[k->n - 1]) : STR("");

	if (!str_starts(word, STR("--")))
		return NULL;
	for (const struct cmd_opt *o = k->found->opts; o && o->name; o++)
		if (str_eqz(str_sub(word, 2, word.n), o->name))
			return o->arg ? o : NULL;
	return NULL;
}

static void
complete_options(const struct complete *k)
{
	char word[80];

	for (const struct cmd_opt *o = k->found->opts; o && o->name; o++) {
		snprintf(word, sizeof(word), "--%s", o->name);
		candidate(k, str_z(word), o->help);
	}
	candidate(k, STR("--help"), "what the command does");
}

static int
run_complete(const struct cmd *c, int argc, char **argv)
{
	(void)c;
	if (argc < 2)
		return 0;
	struct complete k = {.n = argc - 2, .words = argv + 1};

	cmd_each(try_cmd, &k);
	if (!k.found)
		return 0;
	const struct cmd_opt *o = option_before(&k);

	if (o)
		complete_arg(&k, str_z(o->arg));
	else if (str_starts(unfinished(&k), STR("-")))
		complete_options(&k);
	else if (k.found->args)
		complete_arg(&k, str_z(k.found->args));
	return 0;
}

/* ---- the scripts ---- */

static const char bash_script[] =
	"# pinfold completion for bash: put this into ~/.bashrc\n"
	"#   source <(pinfold completion bash)\n"
	"_pinfold() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} line\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tcase $line in\n"
	"\t\t@file) compopt -o filenames; COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
	"\t\t@dir) compopt -o filenames; COMPREPLY+=($(compgen -d -- \"$cur\")) ;;\n"
	"\t\t*) COMPREPLY+=(\"${line%%$'\\t'*}\") ;;\n"
	"\t\tesac\n"
	"\tdone < <(\"${COMP_WORDS[0]}\" complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _pinfold pinfold\n";

static const char zsh_script[] =
	"#compdef pinfold\n"
	"# pinfold completion for zsh: put this into a file named _pinfold in a folder of $fpath\n"
	"#   pinfold completion zsh > ~/.zsh/_pinfold\n"
	"_pinfold() {\n"
	"\tlocal line word what\n"
	"\tlocal -a found\n"
	"\tfor line in ${(f)\"$(${words[1]} complete ${(@)words[2,CURRENT]} 2>/dev/null)\"}; do\n"
	"\t\tword=${line%%$'\\t'*} what=${line#*$'\\t'}\n"
	"\t\tcase $word in\n"
	"\t\t@file) _files ;;\n"
	"\t\t@dir) _files -/ ;;\n"
	"\t\t*) found+=(\"${word//:/\\\\:}:$what\") ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t(( $#found )) && _describe pinfold found\n"
	"}\n"
	"if [ \"$funcstack[1]\" = _pinfold ]; then _pinfold \"$@\"; else compdef _pinfold pinfold; fi\n";

static const char fish_script[] =
	"# pinfold completion for fish\n"
	"#   pinfold completion fish > ~/.config/fish/completions/pinfold.fish\n"
	"function __pinfold_complete\n"
	"\tset -l words (commandline -opc)\n"
	"\tfor line in ($words[1] complete $words[2..-1] (commandline -ct) 2>/dev/null)\n"
	"\t\tswitch $line\n"
	"\t\t\tcase @file\n"
	"\t\t\t\t__fish_complete_path (commandline -ct)\n"
	"\t\t\tcase @dir\n"
	"\t\t\t\t__fish_complete_directories (commandline -ct)\n"
	"\t\t\tcase '*'\n"
	"\t\t\t\tprintf '%s\\n' $line\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"complete -c pinfold -f -a '(__pinfold_complete)'\n";

static const struct {
	const char *shell;
	const char *script;
} scripts[] = {
	{"bash", bash_script},
	{"zsh", zsh_script},
	{"fish", fish_script},
};

static int
run_completion(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	int rc = cmd_parse(c, &argc, argv, NULL, &e);

	if (rc == CMD_DONE)
		return 0;
	for (size_t i = 0; rc == 0 && argc == 2 && i < ARRAY_LEN(scripts); i++) {
		if (strcmp(argv[1], scripts[i].shell) == 0) {
			fputs(scripts[i].script, stdout);
			return 0;
		}
	}
	if (rc == 0)
		err_set(&e, ERR_INVALID, "completion needs the name of a shell: bash, zsh or fish");
	return cmd_fail(c, &e);
}

const struct cmd cmds_completion[] = {
	{
		.name = "completion",
		.args = "bash|zsh|fish",
		.summary = "Print the completion script for a shell",
		.run = run_completion,
		.help = "bash:  source <(pinfold completion bash)\n"
			"zsh:   pinfold completion zsh > a folder of $fpath, as _pinfold\n"
			"fish:  pinfold completion fish > ~/.config/fish/completions/pinfold.fish\n",
	},
	{.name = "complete", .run = run_complete},
	{.name = NULL},
};
