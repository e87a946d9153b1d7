/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock through its system calls: the C library of Debian 12 has no wrappers, and its headers know only
 * part of what newer kernels can deny. What the running kernel does not know is left out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/confine_parts.h"

#define SYS_LL_CREATE_RULESET 444
#define SYS_LL_ADD_RULE       445
#define SYS_LL_RESTRICT_SELF  446
#define LL_VERSION            1u
#define LL_PATH_BENEATH       1

enum {
	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_REFER = 1 << 13,    /* ABI 2 */
	FS_TRUNCATE = 1 << 14, /* ABI 3 */
	FS_FIRST = (1 << 13) - 1,
	FS_IOCTL_DEV = 1 << 15, /* ABI 5 */

	NET_BIND = 1 << 0, /* ABI 4 */
	NET_CONNECT = 1 << 1,

	SCOPE_ABSTRACT_SOCKET = 1 << 0, /* ABI 6 */
	SCOPE_SIGNAL = 1 << 1,

	FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
	FS_RO = FS_READ_FILE | FS_READ_DIR,
	FS_RW = FS_RO | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |
		FS_REFER | FS_TRUNCATE,
};

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_rule {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

static struct ruleset
handled_by(long abi, enum confine_profile p)
{
	struct ruleset r = {.fs = FS_FIRST};

	if (abi >= 2)
		r.fs |= FS_REFER;
	if (abi >= 3)
		r.fs |= FS_TRUNCATE;
	if (abi >= 4)
		r.net = p == CONFINE_GATE ? NET_BIND : NET_BIND | NET_CONNECT;
	if (abi >= 5)
		r.fs |= FS_IOCTL_DEV;
	if (abi >= 6)
		r.scoped = SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL;
	return r;
}

static int
allow_paths(int rules, const char *const *paths, uint64_t access, bool may_miss, struct err *e)
{
	for (; paths && *paths; paths++) {
		AUTO(fd) int fd = open(*paths, O_PATH | O_CLOEXEC);
		struct path_rule rule = {.allowed = access, .fd = fd};
		struct stat st;

		if (fd < 0 && errno == ENOENT && may_miss)
			continue;
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_os(e, "landlock: %s", *paths);
		if (!S_ISDIR(st.st_mode))
			rule.allowed &= FS_OF_FILES;
		if (syscall(SYS_LL_ADD_RULE, rules, LL_PATH_BENEATH, &rule, 0) < 0)
			return err_os(e, "landlock: rule for %s", *paths);
	}
	return 0;
}

int
confine_landlock(const struct confine_opts *o, struct err *e)
{
	long abi = syscall(SYS_LL_CREATE_RULESET, NULL, 0, LL_VERSION);
	int r;

	if (abi < 1)
		return err_os(e, "landlock is not to be had (it must be compiled in and named in lsm=)");
	struct ruleset handled = handled_by(abi, o->profile);
	AUTO(fd) int rules = (int)syscall(SYS_LL_CREATE_RULESET, &handled, sizeof(handled), 0);

	if (rules < 0)
		return err_os(e, "landlock: rule set");
	if ((r = allow_paths(rules, o->rw, FS_RW & handled.fs, false, e)) < 0)
		return r;
	if ((r = allow_paths(rules, o->ro, FS_RO & handled.fs, true, e)) < 0)
		return r;
	if (syscall(SYS_LL_RESTRICT_SELF, rules, 0) < 0)
		return err_os(e, "landlock: restrict");
	return 0;
}
