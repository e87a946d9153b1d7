/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Glob patterns: braces expanded, split at slashes, each part compiled. The language is that of the
 * reference's Node (minimatch with its defaults): * ? [class] {a,b} {1..3} ** and the groups ?( ) *( ) +( )
 * @( ) !( ); a backslash is a slash; a leading dot must be matched by a dot. Pure: no file system here.
 * glob_walk.h applies a pattern to a tree.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define GLOB_PATTERN_MAX 4096 /* bytes */
#define GLOB_PARTS_MAX   63   /* components of one pattern: a set of them is a 64-bit word */
#define GLOB_SETS_MAX    4096 /* patterns that braces make of one */

enum glob_kind { GLOB_LITERAL, GLOB_MATCH, GLOB_STARSTAR };

struct glob_part {
	enum glob_kind kind;
	struct str text; /* of a literal */
	void *code;      /* of GLOB_MATCH; NULL: matches nothing */
	uint32_t suffix; /* number of the text from this part to the end: equal suffixes have equal numbers */
};

/* One alternative. */
struct glob_set {
	struct glob_part *parts;
	size_t n;
};

struct glob {
	struct arena *arena;
	struct glob_set *sets;
	size_t n;
};

/* Compiles. ERR_TOO_LARGE, ERR_INVALID, ERR_NO_MEMORY. */
int glob_new(struct str pattern, struct glob **out, struct err *e);
void glob_free(struct glob *g);
DEFINE_AUTO(glob, struct glob *, glob_free, NULL);

/* True when a file name matches a part (of any kind). */
bool glob_part_test(const struct glob_part *p, struct str name);

/* The alternatives that braces make of a pattern, in order. At most GLOB_SETS_MAX; memory from `a`. */
struct str *glob_braces(struct str pattern, struct arena *a, size_t *n);

/* Appends the regular expression of one part, without anchors. False: it has no magic, then `literal` got its
 * text. */
struct buf;
bool glob_regex(struct str part, struct arena *a, struct buf *regex, struct buf *literal);
