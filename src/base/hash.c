/* SPDX-License-Identifier: Apache-2.0 */
/* BLAKE2b as RFC 7693 defines it; the names in this file are the document's. */
#include "base/hash.h"

#include <endian.h>

#define KEY_MAX 64

static const uint64_t IV[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1, //
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179, //
};

static const uint8_t SIGMA[10][16] = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

/* Inlined by force: with the schedule row known, the message words become plain loads. */
#define INLINE __attribute__((always_inline)) static inline

INLINE uint64_t
rotr(uint64_t x, unsigned n)
{
	return x >> n | x << (64 - n);
}

#define G(a, b, c, d, x, y)          \
	do {                         \
		a += b + (x);        \
		d = rotr(d ^ a, 32); \
		c += d;              \
		b = rotr(b ^ c, 24); \
		a += b + (y);        \
		d = rotr(d ^ a, 16); \
		c += d;              \
		b = rotr(b ^ c, 63); \
	} while (0)

INLINE void
mix(uint64_t v[16], const uint64_t m[16], const uint8_t s[16])
{
	G(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
	G(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
	G(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
	G(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
	G(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
	G(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
	G(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
	G(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
}

/* F of the RFC: mixes one block of 128 bytes into the state. The byte counter is already advanced. */
static void
compress(struct hash_ctx *c, const uint8_t block[128], bool last)
{
	uint64_t v[16], m[16];

	for (int i = 0; i < 16; i++) {
		memcpy(&m[i], block + i * 8, 8);
		m[i] = le64toh(m[i]);
	}
	for (int i = 0; i < 8; i++) {
		v[i] = c->h[i];
		v[i + 8] = IV[i];
	}
	v[12] ^= c->t[0];
	v[13] ^= c->t[1];
	if (last)
		v[14] = ~v[14];
	mix(v, m, SIGMA[0]);
	mix(v, m, SIGMA[1]);
	mix(v, m, SIGMA[2]);
	mix(v, m, SIGMA[3]);
	mix(v, m, SIGMA[4]);
	mix(v, m, SIGMA[5]);
	mix(v, m, SIGMA[6]);
	mix(v, m, SIGMA[7]);
	mix(v, m, SIGMA[8]);
	mix(v, m, SIGMA[9]);
	mix(v, m, SIGMA[0]);
	mix(v, m, SIGMA[1]);
	for (int i = 0; i < 8; i++)
		c->h[i] ^= v[i] ^ v[i + 8];
}

static void
count(struct hash_ctx *c, size_t n)
{
	c->t[0] += n;
	c->t[1] += c->t[0] < n;
}

void
hash_init(struct hash_ctx *c, struct str key)
{
	ASSERT(key.n <= KEY_MAX);
	*c = (struct hash_ctx){0};
	memcpy(c->h, IV, sizeof(IV));
	c->h[0] ^= 0x01010000u ^ (uint64_t)key.n << 8 ^ HASH_BYTES;
	if (key.n == 0)
		return;
	memcpy(c->block, key.p, key.n);
	c->n = sizeof(c->block);
}

void
hash_add(struct hash_ctx *c, struct str s)
{
	const uint8_t *p = (const uint8_t *)s.p;
	size_t n = s.n;
	size_t room = sizeof(c->block) - c->n;

	/* The last block is only known at the end, so a full one waits until more comes. */
	if (n > room) {
		memcpy(c->block + c->n, p, room);
		count(c, sizeof(c->block));
		compress(c, c->block, false);
		p += room;
		n -= room;
		c->n = 0;
		for (; n > sizeof(c->block); p += sizeof(c->block), n -= sizeof(c->block)) {
			count(c, sizeof(c->block));
			compress(c, p, false);
		}
	}
	if (n)
		memcpy(c->block + c->n, p, n);
	c->n += n;
}

void
hash_add_field(struct hash_ctx *c, struct str s)
{
	uint64_t n = htole64(s.n);

	hash_add(c, str_n(&n, sizeof(n)));
	hash_add(c, s);
}

struct hash
hash_end(struct hash_ctx *c)
{
	struct hash out;

	memset(c->block + c->n, 0, sizeof(c->block) - c->n);
	count(c, c->n);
	compress(c, c->block, true);
	for (size_t i = 0; i < HASH_BYTES / 8; i++) {
		uint64_t le = htole64(c->h[i]);
		memcpy(out.b + i * 8, &le, 8);
	}
	/* What was hashed may be a secret. */
	explicit_bzero(c, sizeof(*c));
	return out;
}

struct hash
hash_of(struct str s)
{
	struct hash_ctx c;

	hash_init(&c, STR_NULL);
	hash_add(&c, s);
	return hash_end(&c);
}

bool
hash_equal(const struct hash *a, const struct hash *b)
{
	unsigned diff = 0;

	for (size_t i = 0; i < HASH_BYTES; i++)
		diff |= (unsigned)(a->b[i] ^ b->b[i]);
	/* Hides `diff` from the optimiser, which could otherwise leave the loop early. */
	__asm__ volatile("" : "+r"(diff));
	return diff == 0;
}

char *
hash_hex(const struct hash *h, char dst[HASH_HEX])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < HASH_BYTES; i++) {
		dst[i * 2] = digits[h->b[i] >> 4];
		dst[i * 2 + 1] = digits[h->b[i] & 15];
	}
	dst[HASH_HEX - 1] = '\0';
	return dst;
}
