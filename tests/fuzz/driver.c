/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replays a corpus through a fuzz target where libFuzzer is not linked in, so that every compiler and every
 * `make check` runs it. Each file is fed whole; a short one also cut after each of its bytes, which is where
 * parsers of half-sent input break. A crash names the file: it is printed before it is fed.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES   (8U << 20)
#define PREFIX_MAX_BYTES 512U

/* An exact-size heap copy: under ASan a read one byte past the end is a report, not luck. */
static void
feed(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (copy == NULL)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static int
replay_bytes(int fd, size_t size)
{
	uint8_t *data = malloc(size > 0 ? size : 1);
	size_t got = 0;
	ssize_t n = 1;

	if (data == NULL)
		return -1;
	while (got < size && (n = read(fd, data + got, size - got)) > 0)
		got += (size_t)n;
	if (n < 0) {
		free(data);
		return -1;
	}
	for (size_t cut = 0; cut < got && got <= PREFIX_MAX_BYTES; cut++)
		feed(data, cut);
	feed(data, got);
	free(data);
	return 0;
}

static int
replay_file(int dir, const char *name)
{
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	int rc = -1;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= (off_t)FILE_MAX_BYTES) {
		fprintf(stderr, "%s\n", name);
		rc = replay_bytes(fd, (size_t)st.st_size);
	}
	close(fd);
	return rc;
}

/* Returns the number of files fed, or -1 when one of them could not be read. */
static int
replay_dir(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *ent;
	int fed = 0;

	if (d == NULL)
		return -1;
	while (fed >= 0 && (ent = readdir(d)) != NULL) {
		if (ent->d_name[0] == '.')
			continue;
		fed = replay_file(dirfd(d), ent->d_name) < 0 ? -1 : fed + 1;
	}
	closedir(d);
	return fed;
}

int
main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int fed = replay_dir(argv[i]);

		if (fed < 0) {
			fprintf(stderr, "%s: cannot replay this corpus\n", argv[i]);
			return 1;
		}
		total += fed;
	}
	if (total == 0) {
		fprintf(stderr, "no input: a corpus folder with at least three seeds is expected\n");
		return 1;
	}
	printf("%d inputs replayed\n", total);
	return 0;
}
