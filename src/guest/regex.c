/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "base/limits.h"

#define TRANSLATED_MAX (4 * MIB)
#define HEAP_KIB       (64 * 1024)

struct regex {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

/* NULL, or what is wrong. */
static const char *
compile(struct regex *r, struct str text)
{
	PCRE2_SIZE at;
	int error;

	r->code = pcre2_compile((PCRE2_SPTR)text.p, text.n,
		PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C,
		&error, &at, NULL);
	if (!r->code)
		return error == PCRE2_ERROR_LOOKBEHIND_NOT_FIXED_LENGTH
			       ? "a lookbehind must have a fixed length here"
			       : "Regular expression too large";
	pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, no more */
	r->data = pcre2_match_data_create(1, NULL);
	r->limits = pcre2_match_context_create(NULL);
	if (!r->data || !r->limits)
		return "out of memory";
	pcre2_set_match_limit(r->limits, UINT32_MAX);
	pcre2_set_depth_limit(r->limits, UINT32_MAX);
	pcre2_set_heap_limit(r->limits, HEAP_KIB);
	return NULL;
}

struct regex *
regex_new(struct str pattern, const char **why)
{
	AUTO(regex) struct regex *r = calloc(1, sizeof(*r));
	AUTO(buf) struct buf text = {0};

	buf_init(&text, TRANSLATED_MAX);
	*why = pattern.n > REGEX_PATTERN_MAX ? "Regular expression too large"
					     : regex_translate(pattern, &text);
	if (!*why)
		*why = r ? compile(r, buf_str(&text)) : "out of memory";
	return *why ? NULL : MOVE(r);
}

void
regex_free(struct regex *r)
{
	if (!r)
		return;
	pcre2_match_context_free(r->limits);
	pcre2_match_data_free(r->data);
	pcre2_code_free(r->code);
	free(r);
}

bool
regex_test(const struct regex *r, struct str line)
{
	PCRE2_SPTR s = (PCRE2_SPTR)(line.p ? line.p : "");
	int k = pcre2_match(r->code, s, line.n, 0, PCRE2_NO_UTF_CHECK, r->data, r->limits);

	if (k == PCRE2_ERROR_JIT_STACKLIMIT)
		k = pcre2_match(r->code, s, line.n, 0, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->data, r->limits);
	return k >= 0;
}
