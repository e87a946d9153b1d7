/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "unknown architecture"
#endif

#define CAP(name) (UINT64_C(1) << CAP_##name)
#define CAP_LAST  63
/* AddressSanitizer maps terabytes. */
#if defined(__SANITIZE_ADDRESS__)
#define HELPER_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HELPER_MEMORY 0
#endif
#endif
#ifndef HELPER_MEMORY
#define HELPER_MEMORY (1024ull << 20)
#endif
#define HELPER_CPU_S 120

/* What root keeps inside: enough for package managers, su and servers on low ports. */
#define TOOL_CAPS                                                                                        \
	(CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(FSETID) | CAP(KILL) | \
		CAP(SETGID) | CAP(SETUID) | CAP(SETPCAP) | CAP(NET_BIND_SERVICE) | CAP(SYS_CHROOT) |     \
		CAP(SETFCAP))

/* What the guest itself needs: files for the tools, ids and signals for its children. */
#define GUEST_CAPS                                                                                       \
	(CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(FSETID) | CAP(KILL) | \
		CAP(SETGID) | CAP(SETUID) | CAP(SETPCAP) | CAP(SETFCAP))

/* ---- capabilities ---- */

/* Sets permitted and effective to what of `want` is permitted now. */
static int
caps_keep(uint64_t want)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &head, data) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(want >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return (int)syscall(SYS_capset, &head, data);
}

static uint64_t
caps_permitted(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &head, data) < 0)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

/* Takes everything but `keep` out of the bounding set; capabilities that the kernel does not know end the
 * loop. */
static void
caps_bound(uint64_t keep)
{
	for (int i = 0; i <= CAP_LAST; i++)
		if (!(keep >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0 && errno == EINVAL)
			return;
}

static int
set_ids(uid_t id)
{
	if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0)
		return -1;
	return setresuid(id, id, id);
}

int
spawn_become_guest(struct err *e)
{
	struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_os(e, "keep capabilities");
	if (set_ids(GUEST_UID) < 0)
		return err_os(e, "become uid %d", GUEST_UID);
	if (caps_keep(GUEST_CAPS) < 0)
		return err_os(e, "set capabilities");
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_os(e, "forbid dumps");
	return 0;
}

static void
limit(int what, uint64_t value)
{
	struct rlimit rl = {.rlim_cur = value, .rlim_max = value};

	if (value)
		setrlimit((__rlimit_resource_t)what, &rl);
}

void
spawn_become_helper(bool lower)
{
	signal(SIGCHLD, SIG_DFL);
	limit(RLIMIT_AS, HELPER_MEMORY);
	limit(RLIMIT_CPU, HELPER_CPU_S);
	if (!lower)
		return;
	/* Reading as root does, and nothing else; the ids differ from the guest's, so it cannot signal the
	 * guest either. */
	bool can = caps_permitted() & CAP(DAC_READ_SEARCH);
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || set_ids(HELPER_UID) < 0 ||
		caps_keep(can ? CAP(DAC_READ_SEARCH) : CAP(DAC_OVERRIDE)) < 0)
		_exit(126);
}

/* ---- tools ---- */

/*
 * No new user namespaces: in one of its own a tool would be free of its process limit. clone3 cannot be
 * looked into, so it does not exist and libc falls back to clone.
 */
static int
forbid_namespaces(void)
{
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(v)   BPF_STMT(BPF_RET | BPF_K, (v))
#define IS(v, t, f) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), (t), (f))
	struct sock_filter code[] = {
		/* 0 */ LOAD(arch),
		/* 1 */ IS(NATIVE_ARCH, 0, 9), /* else 11 */
		/* 2 */ LOAD(nr),
		/* 3 */ IS(SYS_clone, 4, 0),   /* 8 */
		/* 4 */ IS(SYS_unshare, 3, 0), /* 8 */
		/* 5 */ IS(SYS_setns, 4, 0),   /* 10 */
		/* 6 */ IS(SYS_clone3, 4, 0),  /* 11 */
		/* 7 */ RETURN(SECCOMP_RET_ALLOW),
		/* 8 */ LOAD(args[0]), /* the low half: both architectures are little endian */
		/* 9 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 2), /* else 12 */
		/* 10 */ RETURN(SECCOMP_RET_ERRNO | EPERM),
		/* 11 */ RETURN(SECCOMP_RET_ERRNO | ENOSYS),
		/* 12 */ RETURN(SECCOMP_RET_ALLOW),
	};
#undef LOAD
#undef RETURN
#undef IS
	struct sock_fprog prog = {.len = ARRAY_LEN(code), .filter = code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}

/* Root of the new namespace, without what root there need not have. */
static bool
become_tool_root(void)
{
	if (set_ids(0) < 0 || forbid_namespaces() < 0)
		return false;
	caps_bound(TOOL_CAPS);
	return true;
}

static bool
set_fds(const struct spawn *s)
{
	int in = s->in >= 0 ? s->in : open("/dev/null", O_RDONLY | O_CLOEXEC);

	/* The sources are close-on-exec and above 2: dup2 gives the copies that stay. */
	if (in < 3 || s->out < 3 || dup2(in, 0) < 0 || dup2(s->out, 1) < 0 ||
		dup2(s->err >= 0 ? s->err : s->out, 2) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(s->extra); i++)
		if (s->extra[i].as && dup2(s->extra[i].fd, s->extra[i].as) < 0)
			return false;
	return true;
}

/* In the child: never returns. */
NORETURN static void
exec_tool(const struct spawn *s)
{
	const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		"LANG=C.UTF-8",
		"TERM=dumb",
		"PS1=",
		"PS2=",
		s->env,
		NULL,
	};
	sigset_t none;

	sigemptyset(&none);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	umask(022);
	if (!set_fds(s) || (s->isolate && !become_tool_root()))
		_exit(126);
	if (chdir(s->cwd) < 0)
		dprintf(2, "guest: %s: %m\n", s->cwd);
	limit(RLIMIT_NPROC, s->limits.procs);
	limit(RLIMIT_AS, s->limits.memory_bytes);
	limit(RLIMIT_FSIZE, s->limits.file_bytes);
	execve(s->path, (char *const *)(uintptr_t)s->argv, (char *const *)(uintptr_t)env);
	dprintf(2, "guest: %s: %m\n", s->path);
	_exit(127);
}

static int
write_map(pid_t pid, const char *file)
{
	char path[64], map[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	int n = snprintf(map, sizeof(map), "0 0 %d\n", TOOL_IDS);
	AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, (size_t)n) != n)
		return -errno;
	return 0;
}

/* A child in a user namespace that waits until its ids are mapped. */
static pid_t
spawn_isolated(const struct spawn *s)
{
	int go[2];
	char c = 0;

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, 0, 0, 0, 0);
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			_exit(126);
		exec_tool(s);
	}
	int r = pid < 0 ? -errno : 0;
	close(go[0]);
	if (r == 0)
		r = write_map(pid, "uid_map");
	if (r == 0)
		r = write_map(pid, "gid_map");
	if (r == 0 && write(go[1], &c, 1) != 1)
		r = -errno;
	close(go[1]); /* without the byte the child ends */
	return r < 0 ? r : pid;
}

pid_t
spawn_tool(const struct spawn *s)
{
	if (s->isolate)
		return spawn_isolated(s);
	pid_t pid = fork();
	if (pid == 0)
		exec_tool(s);
	return pid < 0 ? -errno : pid;
}

/* Changes the effective user only, and back; the capabilities survive because the process is told to keep
 * them. */
static int
set_effective(uid_t id)
{
	prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	int r = setresuid((uid_t)-1, id, (uid_t)-1);
	return r < 0 ? r : caps_keep(GUEST_CAPS);
}

int
spawn_pipe(int fds[2], size_t size, bool isolate)
{
	/* A pipe belongs to who makes it, and tools that write to /dev/stderr open it anew. */
	if (isolate && set_effective(0) < 0)
		return -errno;
	int r = pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
	if (isolate && set_effective(GUEST_UID) < 0)
		_exit(126); /* never go on with a foreign identity */
	if (r == 0)
		fcntl(fds[0], F_SETPIPE_SZ, (int)size); /* best effort */
	return r;
}
