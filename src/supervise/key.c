/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/secret.h"

/* A key becomes one header value: visible ASCII only. */
static int
check_key(struct str key, const char *from, struct err *e)
{
	if (key.n > LIM_SECRET)
		return err_set(e, ERR_INVALID, "the key in %.100s is over %d bytes", from, LIM_SECRET);
	for (size_t i = 0; i < key.n; i++)
		if (key.p[i] <= ' ' || key.p[i] > '~')
			return err_set(e, ERR_INVALID,
				"the key in %.100s holds white space or bytes outside ASCII", from);
	return 0;
}

static int
seal(struct str key, int *out, struct err *e)
{
	AUTO(fd) int fd = memfd_create("key", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_os(e, "memfd");
	if (write(fd, key.p, key.n) != (ssize_t)key.n)
		return err_os(e, "memfd");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return err_os(e, "seal a key");
	*out = MOVE_FD(fd);
	return 0;
}

int
key_take_env(const char *name, int *fd, struct err *e)
{
	char *value = getenv(name);

	*fd = -1;
	if (!value || !*value)
		return 0;
	struct str key = str_z(value);
	int rc = check_key(key, name, e);

	if (rc == 0)
		rc = seal(key, fd, e);
	secret_wipe(value, key.n);
	unsetenv(name);
	return rc;
}

static int
check_file(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_os(e, "%.100s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "%.100s is no regular file", path);
	if (st.st_mode & 0007)
		return err_set(e, ERR_INVALID, "%.100s can be read by everybody: chmod 600 it", path);
	return 0;
}

int
key_take_file(const char *path, int *fd, struct err *e)
{
	AUTO(fd) int in = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char text[LIM_SECRET + 1];

	*fd = -1;
	if (in < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "there is no key file %.150s", path);
	if (in < 0)
		return err_os(e, "%.100s", path);
	int rc = check_file(in, path, e);

	if (rc < 0)
		return rc;
	ssize_t n = read(in, text, sizeof(text));

	if (n < 0)
		return err_os(e, "%.100s", path);
	struct str rest = str_n(text, (size_t)n);
	struct str key = str_next(&rest, '\n');

	if (key.n && key.p[key.n - 1] == '\r')
		key.n--;
	key = str_trim(key);
	rc = key.n ? check_key(key, path, e) : err_set(e, ERR_INVALID, "the key file %.150s is empty", path);
	if (rc == 0)
		rc = seal(key, fd, e);
	secret_wipe(text, sizeof(text));
	return rc;
}
