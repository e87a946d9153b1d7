/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined process may try; part of test_confine.c. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"

static char dir[] = "/tmp/test_confine.XXXXXX";
static char inside[128], outside[128];
static int listen_fd = -1;
static struct sockaddr_in listen_addr;

/* ---- attempts: 0 when they succeed, else the errno ---- */

static int
os(long r)
{
	return r < 0 ? errno : 0;
}

#define TRY(name, expression)        \
	static int name(void)        \
	{                            \
		return (expression); \
	}

TRY(try_clone3, os(syscall(SYS_clone3, NULL, 0)))
TRY(try_ptrace, os(ptrace(PTRACE_TRACEME, 0, NULL, NULL)))
TRY(try_mount, os(mount("none", "/mnt", "tmpfs", 0, NULL)))
TRY(try_unshare_user, os(unshare(CLONE_NEWUSER)))
TRY(try_setns, os(setns(0, 0)))
TRY(try_bpf, os(syscall(SYS_bpf, 0, NULL, 0)))
TRY(try_io_uring, os(syscall(SYS_io_uring_setup, 1, NULL)))
TRY(try_userfaultfd, os(syscall(SYS_userfaultfd, 0)))
TRY(try_keyctl, os(syscall(SYS_keyctl, 0, 0, 0, 0, 0)))
TRY(try_kexec, os(syscall(SYS_kexec_load, 0, 0, NULL, 0)))
TRY(try_init_module, os(syscall(SYS_init_module, NULL, 0, "")))
TRY(try_vm_readv, os(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0)))
TRY(try_chroot, os(chroot("/")))
TRY(try_personality, os(syscall(SYS_personality, 0x0040000)))
TRY(try_setuid, os(setuid(0)))
TRY(try_kill_parent, os(kill(getppid(), 0)))
TRY(try_bind, os(bind(listen_fd, (const struct sockaddr *)(const void *)&listen_addr, sizeof(listen_addr))))
TRY(try_listen, os(listen(listen_fd, 5)))
TRY(try_dumpable, os(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)))
TRY(try_unknown_call, os(syscall(9999)))
TRY(try_tiocsti, os(syscall(SYS_ioctl, listen_fd, 0x5412, "x")))
TRY(try_unshare_ns, os(unshare(CLONE_NEWNS)))

static int
try_execve(void)
{
	char name[] = "/bin/true";
	char *argv[] = {name, NULL};
	char *envp[] = {NULL};

	return os(execve(name, argv, envp));
}

static int
try_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return os(pid);
}

static int
try_vfork(void)
{
#ifdef SYS_vfork
	/* With clone's flags: a real vfork would share this stack. */
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return os(pid);
#else
	return EPERM;
#endif
}

static int
try_clone_userns(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return os(pid);
}

static int
socket_of(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0);
	int r = os(fd);

	fd_close(fd);
	return r;
}

TRY(try_socket_inet, socket_of(AF_INET, SOCK_STREAM))
TRY(try_socket_inet6, socket_of(AF_INET6, SOCK_DGRAM))
TRY(try_socket_unix, socket_of(AF_UNIX, SOCK_STREAM))
TRY(try_socket_netlink, socket_of(AF_NETLINK, SOCK_RAW))
TRY(try_socket_netfilter, os(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)))

static int
pair_of(int type)
{
	int pair[2];

	return os(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair)); /* the process ends at once */
}

TRY(try_pair_stream, pair_of(SOCK_STREAM))
TRY(try_pair_datagram, pair_of(SOCK_DGRAM))
TRY(try_socket_packet, socket_of(AF_PACKET, SOCK_RAW))
TRY(try_socket_vsock, socket_of(AF_VSOCK, SOCK_STREAM))

static int
try_raw_socket(void)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	int r = os(fd);

	fd_close(fd);
	return r;
}

static int
try_connect(void)
{
	/* With the descriptor that is at hand: what is judged is the call. */
	return os(
		connect(listen_fd, (const struct sockaddr *)(const void *)&listen_addr, sizeof(listen_addr)));
}

static int
try_gate_connect(void)
{
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return os(connect(fd, (const struct sockaddr *)(const void *)&listen_addr, sizeof(listen_addr)));
}

static int
try_bind_tcp(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return os(bind(fd, (const struct sockaddr *)(const void *)&a, sizeof(a)));
}

/* Somebody (the test) has connected already. */
static int
try_accept(void)
{
	AUTO(fd) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

	return os(fd);
}

static int
open_file(const char *path, int flags)
{
	AUTO(fd) int fd = open(path, flags | O_CLOEXEC, 0600);

	return os(fd);
}

TRY(try_open_passwd, open_file("/etc/passwd", O_RDONLY))
TRY(try_read_inside, open_file(inside, O_RDONLY))
TRY(try_write_inside, open_file(inside, O_RDWR))
TRY(try_read_outside, open_file(outside, O_RDONLY))

static int
try_create_inside(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/in/new", dir);
	int r = open_file(path, O_RDWR | O_CREAT);

	return r ? r : os(unlink(path));
}

static int
try_rename_out(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/out/moved", dir);
	return os(rename(inside, path));
}

static int
try_fifo(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/in/fifo", dir);
	return os(mkfifo(path, 0600));
}

static int
try_proc_parent(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)getppid());
	return open_file(path, O_RDONLY);
}

static int
try_wx_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int
try_exec_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : os(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
