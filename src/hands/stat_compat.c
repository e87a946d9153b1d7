/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A preload library for the inside of a sandbox, used only when the probe finds that runsc refuses statx with
 * AT_NO_AUTOMOUNT (versions before 2023 do; ls and stat of coreutils 9 always pass it). Nothing is ever
 * automounted in there, so dropping the flag changes nothing. Built without libc, so that it fits any C
 * library of any image; only errno's place comes from there.
 */
#include <errno.h>

struct statx;

#define NO_AUTOMOUNT 0x800

__attribute__((visibility("default"))) int statx(
	int fd, const char *path, int flags, unsigned mask, struct statx *out);

int
statx(int fd, const char *path, int flags, unsigned mask, struct statx *out)
{
	long r;
#if defined(__x86_64__)
	register long r10 __asm__("r10") = (long)mask;
	register struct statx *r8 __asm__("r8") = out;

	__asm__ volatile(
		"syscall"
		: "=a"(r)
		: "0"(332L), "D"((long)fd), "S"(path), "d"((long)(flags & ~NO_AUTOMOUNT)), "r"(r10), "r"(r8)
		: "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = 291;
	register long x0 __asm__("x0") = fd;
	register const char *x1 __asm__("x1") = path;
	register long x2 __asm__("x2") = flags & ~NO_AUTOMOUNT;
	register long x3 __asm__("x3") = (long)mask;
	register struct statx *x4 __asm__("x4") = out;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	r = x0;
#else
#error "no system call convention for this architecture"
#endif
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}
