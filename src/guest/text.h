/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text as the tools' contract counts and cleans it: UTF-8 made valid, lengths in UTF-16 units, terminal
 * colours removed. Pure functions over memory.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"

/* Appends `s` with every ill-formed sequence replaced by U+FFFD, one per maximal subpart, as browsers and
 * Node do. */
void text_put_valid(struct buf *b, struct str s);

/* Length in UTF-16 code units (what JavaScript calls length); `s` must be valid UTF-8. */
size_t text_units(struct str s);

/* Byte offset of the first character that begins at or after unit `units` of valid UTF-8 `s`. *split tells
 * that `units` falls between the two halves of a character beyond U+FFFF. */
size_t text_at_unit(struct str s, size_t units, bool *split);

/* Byte offset behind the first `chars` characters of valid UTF-8 `s`, or s.n. */
size_t text_at_char(struct str s, size_t chars);

/* Appends `s` without ANSI control sequences (ESC [ parameters intermediates final). */
void text_put_plain(struct buf *b, struct str s);

/* `s` without the line feeds at its end. */
struct str text_chomp(struct str s);
