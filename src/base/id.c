/* SPDX-License-Identifier: Apache-2.0 */
#include "base/id.h"

#include <errno.h>
#include <sys/random.h>

#define TIME_CHARS   9
#define RANDOM_CHARS 13
#define SUFFIX_MAX   100

/* In ASCII order, so that ids of one prefix sort by time. */
static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static bool
is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

struct id
id_new(const char *prefix, uint64_t wall_us)
{
	struct id id = {0};
	size_t n = strlen(prefix);
	uint64_t ms = wall_us / 1000;

	ASSERT(n > 0 && n + 3 + TIME_CHARS + RANDOM_CHARS < ID_MAX);
	memcpy(id.z, prefix, n);
	memcpy(id.z + n, "_01", 3);
	char *p = id.z + n + 3;
	for (int i = TIME_CHARS; i-- > 0; ms /= 62)
		p[i] = alphabet[ms % 62];
	random_base62(p + TIME_CHARS, RANDOM_CHARS);
	return id;
}

bool
id_valid(struct str s, const char *prefix)
{
	struct str want = str_z(prefix);

	if (!str_starts(s, want) || s.n < want.n + 2 || s.n > want.n + 1 + SUFFIX_MAX || s.p[want.n] != '_')
		return false;
	for (size_t i = want.n + 1; i < s.n; i++)
		if (!is_alnum(s.p[i]))
			return false;
	return true;
}

struct id
id_from(struct str s)
{
	struct id id = {0};

	str_copy_z(s, id.z, sizeof(id.z));
	return id;
}

void
random_bytes(void *p, size_t n)
{
	char *at = p;

	while (n) {
		ssize_t r = getrandom(at, n, 0);
		if (r < 0 && errno == EINTR)
			continue;
		ASSERT(r > 0);
		at += r;
		n -= (size_t)r;
	}
}

void
random_base62(char *dst, size_t n)
{
	uint8_t raw[48];
	size_t left = 0;

	while (n) {
		if (left == 0) {
			left = sizeof(raw);
			random_bytes(raw, left);
		}
		uint8_t b = raw[--left];
		/* 248 = 4 * 62: without the rest every character is equally likely. */
		if (b < 248) {
			*dst++ = alphabet[b % 62];
			n--;
		}
	}
	explicit_bzero(raw, sizeof(raw));
}
