/* SPDX-License-Identifier: Apache-2.0 */
#include "base/attr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static struct iovec
piece(const char *z)
{
	return (struct iovec){.iov_base = (void *)(uintptr_t)z, .iov_len = strlen(z)};
}

void
assert_failed(const char *what, const char *file, int line)
{
	char digits[12];
	size_t at = sizeof(digits) - 1;
	unsigned v = line > 0 ? (unsigned)line : 0;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v && at);
	struct iovec v6[] = {piece(file), piece(":"), piece(digits + at), piece(": assertion failed: "),
		piece(what), piece("\n")};
	/* Nothing can be done about a line that cannot be written. */
	ssize_t n = writev(STDERR_FILENO, v6, ARRAY_LEN(v6));
	(void)n;
	abort();
}

void
fd_close(int fd)
{
	int keep = errno;

	/* Linux has released the number even when close reports EINTR: never try again. */
	if (fd >= 0)
		close(fd);
	errno = keep;
}
