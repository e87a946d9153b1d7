/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a tool may try against process 1 of its sandbox. Each attempt prints "held NAME (why)" or "HOLE NAME";
 * the last line says how many there were. Run as a tool by guest.test.mjs; argv[1] is a result file
 * that the guest has spilled.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned tried, holes;

static void
tell(const char *name, int worked)
{
	int os = errno;

	tried++;
	holes += worked != 0;
	if (worked)
		printf("HOLE %s\n", name);
	else
		printf("held %s (%s)\n", name, strerror(os));
	errno = 0;
}

static int
can_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* True for /dev/null and for the pipe that a tool's own output goes to, which must be open to it under
 * /dev/stdout. */
static int
is_harmless(int fd)
{
	struct stat st, null, out;

	if (fstat(fd, &st) < 0 || stat("/dev/null", &null) < 0 || fstat(1, &out) < 0)
		return 0;
	return (S_ISCHR(st.st_mode) && st.st_rdev == null.st_rdev) ||
	       (S_ISFIFO(st.st_mode) && st.st_ino == out.st_ino);
}

/* Any descriptor of process 1 that a tool can open anew. */
static int
can_take_descriptor(const char *where)
{
	char path[64], target[64] = "";
	int found = 0;

	for (int i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "%s/%d", where, i);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			continue;
		target[n] = 0;
		if (!is_harmless(fd)) {
			printf("     %s is open to tools: %s\n", path, target);
			found = 1;
		}
		close(fd);
	}
	return found;
}

static int
in_child(int (*attempt)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(attempt() ? 1 : 0);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static int
ptrace_attach(void)
{
	return ptrace(PTRACE_ATTACH, 1, NULL, NULL) == 0;
}

static int
ptrace_seize(void)
{
	return ptrace(PTRACE_SEIZE, 1, NULL, NULL) == 0;
}

static int
become(unsigned id)
{
	return setresuid(id, id, id) == 0 || setresgid(id, id, id) == 0 || setreuid((uid_t)-1, id) == 0;
}

static int
become_guest(void)
{
	return become(100000);
}

static int
become_helper(void)
{
	return become(100001);
}

static int
new_user_namespace(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static int
clone_user_namespace(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return pid > 0;
}

static int
more_processes(void)
{
	struct rlimit rl;

	getrlimit(RLIMIT_NPROC, &rl);
	rl.rlim_cur = rl.rlim_max = rl.rlim_max + 1000;
	return setrlimit(RLIMIT_NPROC, &rl) == 0;
}

static int
signal_1(int sig)
{
	return kill(1, sig) == 0;
}

/* 1 when the peer answers a HELLO without the key by anything but the end of the connection. */
static int
dial(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	/* u32 length, u16 type 1, u16 flags, u64 call; u64 1, str "", u64 1, u64 1 */
	unsigned char hello[16 + 28] = {28, 0, 0, 0, 1};
	char c;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	hello[16] = hello[28] = hello[36] = 1;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 0;
	return write(fd, hello, sizeof(hello)) > 0 && read(fd, &c, 1) > 0;
}

static int
plant_socket(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/run/pinfold/hands.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(a.sun_path);
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static int
read_memory(void)
{
	char b[16];
	struct iovec mine = {b, sizeof(b)}, theirs = {(void *)0x400000, sizeof(b)};

	return process_vm_readv(1, &mine, 1, &theirs, 1, 0) > 0;
}

static int
write_memory(void)
{
	char b[16] = {0};
	struct iovec mine = {b, sizeof(b)}, theirs = {(void *)0x400000, sizeof(b)};

	return process_vm_writev(1, &mine, 1, &theirs, 1, 0) > 0;
}

static int
take_by_pidfd(void)
{
	long fd = syscall(SYS_pidfd_open, 1, 0);

	return fd >= 0 && syscall(SYS_pidfd_getfd, fd, 3, 0) >= 0;
}

static int
enter_namespace(void)
{
	int fd = open("/proc/1/ns/user", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && setns(fd, 0) == 0;
}

static int
limit_1(void)
{
	struct rlimit rl = {3, 3};

	return syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &rl, NULL) == 0;
}

static int
map_ids(void)
{
	int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, "0 0 4294967295\n", 15) > 0;
}

/* The Sentry lets root make a node on its own tmpfs; there is no device behind it. */
static int
use_device(void)
{
	return mknod("/tmp/attack-mem", S_IFCHR | 0600, 0x0101) == 0 && can_open("/tmp/attack-mem", O_RDONLY);
}

static int
remount(void)
{
	return mount(NULL, "/run/pinfold", NULL, MS_REMOUNT, NULL) == 0 ||
	       mount("t", "/run/pinfold", "tmpfs", 0, NULL) == 0 || umount("/run/pinfold") == 0;
}

static void
try_files(const char *spilled)
{
	tell("open /proc/1/mem", can_open("/proc/1/mem", O_RDWR) || can_open("/proc/1/mem", O_RDONLY));
	tell("open descriptors of process 1", can_take_descriptor("/proc/1/fd"));
	tell("open descriptors of task 1", can_take_descriptor("/proc/1/task/1/fd"));
	tell("reach its root", can_open("/proc/1/root/etc/passwd", O_RDONLY));
	tell("reach its working directory", can_open("/proc/1/cwd/results", O_RDONLY));
	tell("open its program", can_open("/proc/1/exe", O_RDWR));
	tell("change its program", can_open("/run/pinfold/guest", O_RDWR));
	tell("create in /run/pinfold", can_open("/run/pinfold/x", O_RDWR | O_CREAT));
	tell("list the results", can_open("/run/pinfold/results", O_RDONLY | O_DIRECTORY));
	tell("create a result", can_open("/run/pinfold/results/forged", O_RDWR | O_CREAT));
	tell("change a result", can_open(spilled, O_RDWR));
	tell("own the results",
		chown("/run/pinfold/results", 0, 0) == 0 || chmod("/run/pinfold/results", 0777) == 0);
	tell("move the results", rename("/run/pinfold/results", "/tmp/results") == 0);
	tell("own a file as nobody could", chown("/workspace", 100000, 100000) == 0);
	tell("map more ids", in_child(map_ids));
}

int
main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	tell("ptrace attach", in_child(ptrace_attach));
	tell("ptrace seize", in_child(ptrace_seize));
	tell("read its memory", in_child(read_memory));
	tell("write its memory", in_child(write_memory));
	tell("take a descriptor", in_child(take_by_pidfd));
	tell("enter its namespace", in_child(enter_namespace));
	tell("limit it", limit_1());
	tell("become the guest", in_child(become_guest));
	tell("become a helper", in_child(become_helper));
	tell("make a user namespace", in_child(new_user_namespace));
	tell("clone into a user namespace", in_child(clone_user_namespace));
	tell("raise the process limit", in_child(more_processes));
	tell("make and use a device", in_child(use_device));
	tell("mount over the socket", in_child(remount));
	tell("plant a socket", in_child(plant_socket));
	tell("dial as the guest", dial("/run/pinfold/hands.sock"));
	tell("dial through process 1", dial("/proc/1/cwd/hands.sock"));
	try_files(argc > 1 ? argv[1] : "/run/pinfold/results/e1");
	tell("SIGTERM to 1", signal_1(SIGTERM));
	tell("SIGSTOP to 1", signal_1(SIGSTOP));
	tell("SIGSEGV to 1", signal_1(SIGSEGV));
	tell("SIGKILL to 1", signal_1(SIGKILL));
	tell("reboot", reboot(RB_AUTOBOOT) == 0);
	printf("%u attempts, %u holes\n", tried, holes);
	return holes != 0;
}
