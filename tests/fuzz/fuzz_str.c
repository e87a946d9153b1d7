/* SPDX-License-Identifier: Apache-2.0 */
/* The text primitives: UTF-8 against a plain decoder, numbers against their own printed form, escaping. */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"

/* A second opinion that decodes: valid when each code point encodes to as many bytes as were read. */
static bool
decodes(struct str s, size_t *points)
{
	*points = 0;
	for (size_t i = 0; i < s.n; ++*points) {
		unsigned char lead = (unsigned char)s.p[i];
		size_t n = lead < 0x80   ? 1
			   : lead < 0xc0 ? 0
			   : lead < 0xe0 ? 2
			   : lead < 0xf0 ? 3
			   : lead < 0xf8 ? 4
					 : 0;
		if (n == 0 || n > s.n - i)
			return false;
		uint32_t cp = n == 1 ? lead : lead & (0x7fu >> n);
		for (size_t k = 1; k < n; k++) {
			unsigned char tail = (unsigned char)s.p[i + k];
			if (tail >> 6 != 2)
				return false;
			cp = cp << 6 | (tail & 0x3f);
		}
		size_t need = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
		if (need != n || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
			return false;
		i += n;
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
