/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JavaScript regular expressions (without flags) on top of PCRE2: the pattern is parsed here by JavaScript's
 * rules, including its error messages, and written anew for PCRE2, so that what one engine accepts and the
 * other does not cannot differ. Where they still do: a lookbehind must have a fixed length per alternative,
 * and a character beyond U+FFFF counts as one character, not two.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"

#define REGEX_PATTERN_MAX 65536

struct regex;

/* Compiles valid UTF-8. NULL with JavaScript's words for what is wrong in *why, static ("Unterminated
 * group"). */
struct regex *regex_new(struct str pattern, const char **why);
void regex_free(struct regex *r);
DEFINE_AUTO(regex, struct regex *, regex_free, NULL);

/* True when the pattern matches somewhere in `line` (valid UTF-8). Backtracking is limited by nothing but the
 * caller's deadline, as in the reference. */
bool regex_test(const struct regex *r, struct str line);

/* Writes the pattern for PCRE2. NULL, or JavaScript's words for what is wrong. */
const char *regex_translate(struct str pattern, struct buf *out);
