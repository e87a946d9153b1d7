/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/document.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "base/json.h"
#include "base/limits.h"

static int
read_all(const char *path, struct buf *b, struct err *e)
{
	AUTO(fd) int own = -1;
	int fd = STDIN_FILENO;
	if (strcmp(path, "-") != 0) {
		own = open(path, O_RDONLY | O_CLOEXEC);
		fd = own;
	}
	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "%s does not exist", path)
				       : err_os(e, "open %s", path);
	for (;;) {
		char *p = buf_reserve(b, LIM_CHUNK);
		ssize_t n = p != NULL ? read(fd, p, LIM_CHUNK) : 0;
		if (n < 0)
			return err_os(e, "read %s", path);
		if (n == 0)
			return buf_check(b, e);
		b->n += (size_t)n;
	}
}

static bool
is_one_of(struct str s, const char *const words[3])
{
	return str_eqz(s, words[0]) || str_eqz(s, words[1]) || str_eqz(s, words[2]);
}

/* A plain scalar: null, true, false, a number as JSON writes it, else a string. Quoted ones are strings. */
static void
put_scalar(struct json_w *w, const yaml_event_t *ev)
{
	static const char *const nulls[] = {"null", "Null", "NULL"};
	static const char *const yes[] = {"true", "True", "TRUE"};
	static const char *const no[] = {"false", "False", "FALSE"};
	struct str s = str_n(ev->data.scalar.value, ev->data.scalar.length);
	AUTO(json) struct json_t *v = NULL;
	bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (plain && (s.n == 0 || str_eqz(s, "~") || is_one_of(s, nulls)))
		jw_null(w);
	else if (plain && (is_one_of(s, yes) || is_one_of(s, no)))
		jw_bool(w, is_one_of(s, yes));
	else if (plain && json_parse(s, &v, NULL) == 0 && json_kind(v) != JSON_STR)
		jw_value(w, v);
	else
		jw_str(w, s);
}

struct yaml_walk {
	yaml_parser_t parser;
	struct json_w w;
	bool key[JSON_W_DEPTH]; /* the next scalar of this mapping is a key */
	bool map[JSON_W_DEPTH];
	int depth;
};

static int
walk_fail(const struct yaml_walk *y, struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "line %zu: %s", y->parser.mark.line + 1, what);
}

/* Tags would say that a value is of another type than it looks. */
static int
refuse_tag(const struct yaml_walk *y, const yaml_event_t *ev, struct err *e)
{
	const yaml_char_t *tag = NULL;
	if (ev->type == YAML_SCALAR_EVENT)
		tag = ev->data.scalar.tag;
	else if (ev->type == YAML_MAPPING_START_EVENT)
		tag = ev->data.mapping_start.tag;
	else if (ev->type == YAML_SEQUENCE_START_EVENT)
		tag = ev->data.sequence_start.tag;
	return tag != NULL ? walk_fail(y, e, "tags are not supported") : 0;
}

static int
open_level(struct yaml_walk *y, bool map, struct err *e)
{
	if (y->depth + 2 >= JSON_W_DEPTH)
		return walk_fail(y, e, "too deeply nested");
	if (y->map[y->depth] && y->key[y->depth])
		return walk_fail(y, e, "a key must be a scalar");
	y->key[y->depth] = true;
	y->depth++;
	y->map[y->depth] = map;
	y->key[y->depth] = true;
	if (map)
		jw_obj(&y->w);
	else
		jw_arr(&y->w);
	return 0;
}

/* 1: the document ended. */
static int
walk_event(struct yaml_walk *y, const yaml_event_t *ev, struct err *e)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		if (y->map[y->depth] && y->key[y->depth]) {
			jw_key_str(&y->w, str_n(ev->data.scalar.value, ev->data.scalar.length));
			y->key[y->depth] = false;
			return 0;
		}
		put_scalar(&y->w, ev);
		y->key[y->depth] = true;
		return 0;
	case YAML_MAPPING_START_EVENT:
		return open_level(y, true, e);
	case YAML_SEQUENCE_START_EVENT:
		return open_level(y, false, e);
	case YAML_MAPPING_END_EVENT:
		jw_obj_end(&y->w);
		y->depth--;
		return 0;
	case YAML_SEQUENCE_END_EVENT:
		jw_arr_end(&y->w);
		y->depth--;
		return 0;
	case YAML_ALIAS_EVENT:
		return walk_fail(y, e, "aliases are not supported");
	case YAML_DOCUMENT_END_EVENT:
	case YAML_STREAM_END_EVENT:
		return 1;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_START_EVENT:
		return 0;
	}
	return 0;
}

int
yaml_to_json(const char *path, struct buf *out, struct err *e)
{
	AUTO(buf) struct buf in;
	buf_init(&in, LIM_HTTP_BODY);
	int r = read_all(path, &in, e);
	if (r < 0)
		return r;
	struct yaml_walk y = {.w = json_w(out)};
	if (yaml_parser_initialize(&y.parser) == 0)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	yaml_parser_set_input_string(&y.parser, (const unsigned char *)(in.n ? in.p : ""), in.n);
	while (r == 0) {
		yaml_event_t ev;
		if (yaml_parser_parse(&y.parser, &ev) == 0) {
			r = walk_fail(&y, e, y.parser.problem != NULL ? y.parser.problem : "not YAML");
			break;
		}
		r = refuse_tag(&y, &ev, e);
		r = r == 0 ? walk_event(&y, &ev, e) : r;
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&y.parser);
	if (r >= 0 && out->n == 0)
		r = err_set(e, ERR_INVALID, "the document is empty");
	return r < 0 ? err_wrap(e, "%s", path) : buf_check(out, e);
}
