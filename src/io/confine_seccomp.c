/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System call filters. Allow lists for the roles that face the outside: what is on no list answers ENOSYS, as
 * on an older kernel, so that libraries fall back; what only an intruder would call kills the process. A deny
 * list for the roles that mount, clone and execute, inherited by everything they start, so it refuses rather
 * than kills.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/confine_parts.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Names, not numbers: what libseccomp or the architecture does not know is left out. NULL-terminated. */

static const char *const allow_common[] = {
	/* memory and threads */
	"brk", "munmap", "mremap", "madvise", "mlock", "mlock2", "munlock", "membarrier", "futex", "rseq",
	"set_robust_list", "set_tid_address", "sched_yield", "sched_getaffinity", "getcpu", "exit",
	"exit_group", "restart_syscall", "gettid", "getpid", "getppid", "getuid", "geteuid", "getgid",
	"getegid", "getresuid", "getresgid", "getgroups", "getpgrp",
	/* signals and time */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "clock_gettime",
	"clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrusage", "times",
	/* descriptors */
	"read", "readv", "write", "writev", "pread64", "preadv", "pwrite64", "pwritev", "lseek", "close",
	"close_range", "dup", "dup3", "pipe2", "eventfd2", "memfd_create", "poll", "ppoll", "select",
	"pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
	"timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4", "fstat", "newfstatat", "fstatfs",
	"fcntl",
	/* sockets that are open already */
	"recvmsg", "recvfrom", "recvmmsg", "sendmsg", "sendto", "sendmmsg", "sendfile", "shutdown",
	"getsockopt", "setsockopt", "getsockname", "getpeername",
	/* the rest */
	"getrandom", "uname", "sysinfo", NULL};

static const char *const allow_accept[] = {"accept", "accept4", NULL};

static const char *const allow_read_files[] = {"open", "openat", "stat", "lstat", "statx", "access",
	"faccessat", "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "statfs", "fadvise64",
	"flock", NULL};

static const char *const allow_write_files[] = {"openat2", "unlink", "unlinkat", "rename", "renameat",
	"renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat", "ftruncate", "truncate", "fallocate",
	"fsync", "fdatasync", "sync_file_range", "fchmod", "chmod", "fchmodat", "utimensat",
	"copy_file_range", "umask", NULL};

/* Sanitizers map, report and look for leaks (which forks and traces) at any time. */
static const char *const allow_sanitizers[] = {"open", "openat", "stat", "lstat", "statx", "access",
	"readlink", "readlinkat", "getdents64", "getcwd", "prctl", "ptrace", "wait4", "waitid", "kill",
	"tkill", "clone", "prlimit64", "getrlimit", "socketpair", "dup2", "pipe", "mmap", "mprotect", "ioctl",
	NULL};

static const char *const kill_always[] = {"kexec_load", "kexec_file_load", "init_module", "finit_module",
	"delete_module", "create_module", "iopl", "ioperm", "reboot", "swapon", "swapoff", "uselib",
	"nfsservctl", NULL};

static const char *const kill_in_allow_lists[] = {"execve", "execveat", "ptrace", "process_vm_readv",
	"process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "mount", "umount", "umount2", "fsopen",
	"fsmount", "fsconfig", "fspick", "move_mount", "open_tree", "mount_setattr", "pivot_root", "chroot",
	"unshare", "setns", "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"userfaultfd", "keyctl", "add_key", "request_key", "settimeofday", "clock_settime", "adjtimex",
	"clock_adjtime", "acct", "quotactl", "quotactl_fd", "open_by_handle_at", "name_to_handle_at",
	"modify_ldt", "syslog", "sethostname", "setdomainname", "vhangup", "lookup_dcookie", "personality",
	"mknod", "mknodat", NULL};

/* Refused with EPERM, so that a test (and a bug report) can tell a refusal from an old kernel. */
static const char *const refuse_sockets[] = {"socket", "socketpair", "connect", "bind", "listen", NULL};
static const char *const refuse_fork[] = {"fork", "vfork", NULL};
static const char *const refuse_ids[] = {"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid",
	"setgroups", "setfsuid", "setfsgid", "capset", "kill", "tkill", "rt_sigqueueinfo",
	"rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal", NULL};

static const char *const refuse_in_deny_lists[] = {"bpf", "perf_event_open", "io_uring_setup",
	"io_uring_enter", "io_uring_register", "userfaultfd", "keyctl", "add_key", "request_key",
	"settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "acct", "open_by_handle_at",
	"modify_ldt", "syslog", "pidfd_getfd", "lookup_dcookie", "vhangup", NULL};

#define SOCK_TYPE 0xf /* the rest of the argument are flags */

#define NEW_NAMESPACES                                                                             \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
		CLONE_NEWCGROUP)

static int
add(scmp_filter_ctx f, uint32_t action, const char *const *names)
{
	for (; *names; names++) {
		int nr = seccomp_syscall_resolve_name(*names);

		if (nr == __NR_SCMP_ERROR || nr < 0)
			continue;
		int r = seccomp_rule_add(f, action, nr, 0);

		if (r < 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

/* A rule for all arguments is there already: the first one counts. */
static int
unless_exists(int r)
{
	return r == -EEXIST ? 0 : r;
}

static int
rule_if(scmp_filter_ctx f, uint32_t action, const char *name, struct scmp_arg_cmp cmp)
{
	return unless_exists(seccomp_rule_add(f, action, seccomp_syscall_resolve_name(name), 1, cmp));
}

static int
allow_if(scmp_filter_ctx f, const char *name, struct scmp_arg_cmp cmp)
{
	return rule_if(f, SCMP_ACT_ALLOW, name, cmp);
}

static int
refuse_if(scmp_filter_ctx f, const char *name, struct scmp_arg_cmp cmp)
{
	return rule_if(f, SCMP_ACT_ERRNO(EPERM), name, cmp);
}

/* Any of these results when it is an error. */
static int
first_error(const int *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (r[i] < 0)
			return r[i];
	return 0;
}

#define ALL(...) first_error((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* Calls that are judged by an argument, the same in all allow lists. */
static int
add_by_argument(scmp_filter_ctx f)
{
	return ALL(allow_if(f, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, FIONBIO)),
		allow_if(f, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, FIOCLEX)),
		allow_if(f, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, FIONREAD)),
		allow_if(f, "prctl", SCMP_A0_32(SCMP_CMP_EQ, PR_SET_NAME)),
		allow_if(f, "prctl", SCMP_A0_32(SCMP_CMP_EQ, 0x53564d41 /* PR_SET_VMA */)),
		allow_if(f, "tgkill", SCMP_A0_32(SCMP_CMP_EQ, (unsigned)getpid())),
		rule_if(f, SCMP_ACT_KILL_PROCESS, "clone",
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER)),
		/* glibc asks for the limit of its stack */
		allow_if(f, "prlimit64", SCMP_A2(SCMP_CMP_EQ, 0)));
}

/* Threads, but neither processes nor namespaces. clone3 hides its flags from filters; ENOSYS makes glibc use
 * clone. */
static int
add_threads(scmp_filter_ctx f)
{
	static const scmp_datum_t thread = CLONE_VM | CLONE_THREAD;

	return allow_if(f, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, thread | NEW_NAMESPACES, thread));
}

/* Executable memory: none, or (`may_load`) never writable at the same time, so that the loader still works.
 */
static int
add_mappings(scmp_filter_ctx f, bool may_load)
{
	static const scmp_datum_t x = PROT_EXEC;
	static const scmp_datum_t wx = PROT_EXEC | PROT_WRITE;
	static const char *const calls[] = {"mmap", "mprotect", "pkey_mprotect"};

	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		int r;

		if (!may_load)
			r = ALL(allow_if(f, calls[i], SCMP_A2(SCMP_CMP_MASKED_EQ, x, 0)),
				refuse_if(f, calls[i], SCMP_A2(SCMP_CMP_MASKED_EQ, x, x)));
		else
			r = ALL(allow_if(f, calls[i], SCMP_A2(SCMP_CMP_MASKED_EQ, x, 0)),
				allow_if(f, calls[i], SCMP_A2(SCMP_CMP_MASKED_EQ, wx, x)),
				refuse_if(f, calls[i], SCMP_A2(SCMP_CMP_MASKED_EQ, wx, wx)));
		if (r < 0)
			return r;
	}
	return 0;
}

static int
add_gate_sockets(scmp_filter_ctx f)
{
	static const char *const calls[] = {"connect", "bind", NULL};

	/* Internet out; routing sockets, by which the resolver learns which address families are of use. No
	 * pairs of datagram sockets: one end could be connected anew, to any socket of the host's that has a
	 * name. */
	return ALL(allow_if(f, "socket", SCMP_A0_32(SCMP_CMP_EQ, AF_INET)),
		allow_if(f, "socket", SCMP_A0_32(SCMP_CMP_EQ, AF_INET6)),
		seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0_32(SCMP_CMP_EQ, AF_NETLINK),
			SCMP_A2_32(SCMP_CMP_EQ, NETLINK_ROUTE)),
		seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 2, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX),
			SCMP_A1_32(SCMP_CMP_MASKED_EQ, SOCK_TYPE, SOCK_STREAM)),
		add(f, SCMP_ACT_ALLOW, calls));
}

static int
add_profile(scmp_filter_ctx f, enum confine_profile p)
{
	switch (p) {
	case CONFINE_CONTROL:
		return ALL(add(f, SCMP_ACT_ALLOW, allow_accept), add(f, SCMP_ACT_ALLOW, allow_read_files),
			add(f, SCMP_ACT_ALLOW, allow_write_files),
			add(f, SCMP_ACT_ERRNO(EPERM), refuse_sockets), add_threads(f),
			add_mappings(f, SANITIZED));
	case CONFINE_GATE:
		return ALL(add(f, SCMP_ACT_ALLOW, allow_read_files), add_gate_sockets(f), add_threads(f),
			add_mappings(f, true));
	case CONFINE_PUPPET:
		return ALL(add(f, SCMP_ACT_ALLOW, allow_accept),
			add(f, SCMP_ACT_ERRNO(EPERM), refuse_sockets), add_mappings(f, SANITIZED));
	case CONFINE_HANDS:
	case CONFINE_SUPERVISE:
		break;
	}
	UNREACHABLE();
}

static int
fill_allow_list(scmp_filter_ctx f, enum confine_profile p)
{
	int r;

	if (SANITIZED && (r = add(f, SCMP_ACT_ALLOW, allow_sanitizers)) < 0)
		return r;
	return ALL(add(f, SCMP_ACT_ALLOW, allow_common), add_profile(f, p), add_by_argument(f),
		add(f, SCMP_ACT_KILL_PROCESS, kill_always),
		add(f, SCMP_ACT_KILL_PROCESS, kill_in_allow_lists), add(f, SCMP_ACT_ERRNO(EPERM), refuse_ids),
		add(f, SCMP_ACT_ERRNO(EPERM), refuse_fork));
}

static int
fill_deny_list(scmp_filter_ctx f)
{
	return ALL(add(f, SCMP_ACT_KILL_PROCESS, kill_always),
		add(f, SCMP_ACT_ERRNO(EPERM), refuse_in_deny_lists));
}

int
confine_seccomp(enum confine_profile profile, struct err *e)
{
	bool allow = profile != CONFINE_HANDS && profile != CONFINE_SUPERVISE;
	scmp_filter_ctx f = seccomp_init(allow ? SCMP_ACT_ERRNO(ENOSYS) : SCMP_ACT_ALLOW);
	int r;

	if (!f)
		return err_set(e, ERR_NO_MEMORY, "system call filter");
	r = ALL(seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS),
		seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2),
		allow ? fill_allow_list(f, profile) : fill_deny_list(f));
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	errno = -r;
	return r < 0 ? err_os(e, "system call filter") : 0;
}
