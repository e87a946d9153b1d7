/* SPDX-License-Identifier: Apache-2.0 */
/* The text primitives: UTF-8 against a plain decoder, numbers against their own printed form, escaping. */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"

/* Reads one sequence by its lead byte's count of ones; 0 when it is cut or a tail is no tail. */
static size_t
decode(struct str s, uint32_t *cp)
{
	static const uint8_t len[] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 3, 4};
	unsigned char lead = (unsigned char)s.p[0];
	size_t n = lead < 0xf8 ? len[lead >> 4] : 0;

	if (n > s.n)
		return 0;
	*cp = n == 1 ? lead : lead & (0x7fu >> n);
	for (size_t k = 1; k < n; k++) {
		unsigned char tail = (unsigned char)s.p[k];
		if (tail >> 6 != 2)
			return 0;
		*cp = *cp << 6 | (tail & 0x3f);
	}
	return n;
}

/* A second opinion that decodes: valid when each code point may exist and needs as many bytes as were read.
 */
static bool
decodes(struct str s, size_t *points)
{
	for (*points = 0; s.n; ++*points) {
		uint32_t cp = 0;
		size_t n = decode(s, &cp);
		size_t need = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
		if (n == 0 || need != n || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
			return false;
		s = str_sub(s, n, s.n);
	}
	return true;
}

static void
check_escape(struct str s, bool utf8)
{
	AUTO(buf) struct buf b;
	AUTO(json) struct json_t *v = NULL;
	bool nul = str_find(s, '\0') != s.n;

	buf_init(&b, s.n * 6 + 2);
	json_escape(&b, s);
	ASSERT(buf_check(&b, NULL) == 0 && str_is_utf8(buf_str(&b)));
	/* A NUL is written properly but refused by the reader. */
	ASSERT((json_parse(buf_str(&b), &v, NULL) == 0) == !nul);
	if (utf8 && !nul)
		ASSERT(str_eq(json_str(v, STR_NULL), s));
}

static void
check_numbers(struct str s)
{
	char text[32];
	uint64_t u;
	int64_t i;

	while (s.n > 1 && s.p[0] == '0')
		s = str_sub(s, 1, s.n);
	if (str_to_u64(s, &u)) {
		snprintf(text, sizeof(text), "%" PRIu64, u);
		ASSERT(str_eqz(s, text));
	}
	if (str_to_i64(s, &i) && s.p[0] != '-') {
		snprintf(text, sizeof(text), "%" PRId64, i);
		ASSERT(str_eqz(s, text));
	}
	if (str_to_hex64(s, &u)) {
		snprintf(text, sizeof(text), "%" PRIx64, u);
		ASSERT(str_eq_nocase(s, str_z(text)));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = str_n(data, size);
	size_t points, rebuilt = 0, parts = 1;
	bool utf8 = decodes(s, &points);

	ASSERT(str_is_utf8(s) == utf8);
	if (utf8)
		ASSERT(str_utf8_len(s) == points);
	check_escape(s, utf8);
	check_numbers(s);
	struct str rest = s;
	for (; rest.p && parts <= size + 1; parts++) {
		struct str part = str_next(&rest, ',');
		ASSERT(str_find(part, ',') == part.n && str_trim(part).n <= part.n);
		rebuilt += part.n + (rest.p != NULL);
	}
	ASSERT(rest.p == NULL && rebuilt == s.n);
	return 0;
}
