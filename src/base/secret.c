/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   | guard, PROT_NONE | data pages, read-only once filled ......bytes | guard, PROT_NONE |
 *
 * The bytes end where the upper guard begins, so that reading past them faults at once.
 */
#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/id.h"
#include "base/limits.h"

#define RANDOM_CHARS 43

struct secret {
	char *p; /* the bytes */
	size_t n;
	char *pages;  /* first data page */
	size_t bytes; /* size of the data pages */
	size_t guard; /* size of one guard */
};

void
secret_wipe(void *p, size_t n)
{
	if (n)
		explicit_bzero(p, n);
}

/* Maps writable pages for `n` bytes into *s. */
static bool
map_pages(struct secret *s, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (n / page + 1) * page;
	char *map = mmap(NULL, bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return false;
	*s = (struct secret){
		.p = map + page + bytes - n, .n = n, .pages = map + page, .bytes = bytes, .guard = page};
	if (mprotect(s->pages, bytes, PROT_READ | PROT_WRITE) < 0) {
		munmap(map, bytes + 2 * page);
		return false;
	}
	/* Best effort: the limit on locked memory may be small, old kernels may lack the advice. */
	(void)mlock(s->pages, bytes);
	(void)madvise(s->pages, bytes, MADV_DONTDUMP);
	return true;
}

static struct secret *
secret_alloc(size_t n)
{
	struct secret *s = n <= LIM_SECRET ? malloc(sizeof(*s)) : NULL;

	if (s && !map_pages(s, n)) {
		free(s);
		return NULL;
	}
	return s;
}

static struct secret *
seal(struct secret *s)
{
	(void)mprotect(s->pages, s->bytes, PROT_READ);
	return s;
}

struct secret *
secret_new(struct str s)
{
	struct secret *out = secret_alloc(s.n);

	if (!out)
		return NULL;
	if (s.n)
		memcpy(out->p, s.p, s.n);
	return seal(out);
}

void
secret_free(struct secret *s)
{
	if (!s)
		return;
	if (mprotect(s->pages, s->bytes, PROT_READ | PROT_WRITE) == 0)
		secret_wipe(s->pages, s->bytes);
	munmap(s->pages - s->guard, s->bytes + 2 * s->guard);
	free(s);
}

struct secret *
secret_random(const char *prefix)
{
	size_t n = strlen(prefix);
	struct secret *s = secret_alloc(n + RANDOM_CHARS);

	if (!s)
		return NULL;
	memcpy(s->p, prefix, n);
	random_base62(s->p + n, RANDOM_CHARS);
	return seal(s);
}

size_t
secret_len(const struct secret *s)
{
	return s->n;
}

struct hash
secret_hash(const struct secret *s)
{
	return hash_of(str_n(s->p, s->n));
}

bool
secret_equal(const struct secret *a, const struct secret *b)
{
	unsigned diff = 0;

	/* The length is no secret. */
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		diff |= (unsigned)(unsigned char)(a->p[i] ^ b->p[i]);
	__asm__ volatile("" : "+r"(diff));
	return diff == 0;
}

void
secret_use(const struct secret *s, void (*use)(struct str bytes, void *arg), void *arg)
{
	use(str_n(s->p, s->n), arg);
}

int
secret_expose_to(const struct secret *s, int fd, struct err *e)
{
	char newline = '\n';
	size_t done = 0;

	while (done < s->n + 1) {
		size_t left = done < s->n ? s->n - done : 0;
		struct iovec v[] = {{s->p + (s->n - left), left}, {&newline, 1}};
		ssize_t n = writev(fd, v, 2);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_os(e, "writing a secret");
		done += (size_t)n;
	}
	return 0;
}
