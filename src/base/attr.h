/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiler attributes, ownership helpers and assertions used by every file.
 *
 * Ownership: AUTO(x) declares a variable that is released at scope end by the release function that
 * DEFINE_AUTO(x, ...) named. MOVE(v) hands the value over and disarms the release. Never put AUTO on a
 * borrowed pointer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTF_FMT(fmt, args) __attribute__((format(printf, fmt, args)))
#define NODISCARD             __attribute__((warn_unused_result))
#define NORETURN              __attribute__((noreturn))
#define UNUSED                __attribute__((unused))
#define ARRAY_LEN(a)          (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, t, m) ((t *)(void *)((char *)(p)-offsetof(t, m)))

/* Declares the release function of AUTO(name): `type` variables are passed to `release` unless == `null`. */
#define DEFINE_AUTO(name, type, release, null)  \
	static inline void auto_##name(type *p) \
	{                                       \
		if (*p != (null))               \
			release(*p);            \
	}                                       \
	struct auto_##name##_needs_semicolon

/* The same for values that live in the caller's storage and have a `done` function taking a pointer. */
#define DEFINE_AUTO_DONE(name, type, done)      \
	static inline void auto_##name(type *p) \
	{                                       \
		done(p);                        \
	}                                       \
	struct auto_##name##_needs_semicolon

#define AUTO(name) __attribute__((cleanup(auto_##name)))

/* Takes the pointer out of `v` and leaves NULL. */
#define MOVE(v)                             \
	__extension__({                     \
		__typeof__(v) moved_ = (v); \
		(v) = NULL;                 \
		moved_;                     \
	})

/* Takes the descriptor out of `v` and leaves -1. */
#define MOVE_FD(v)                   \
	__extension__({              \
		int moved_fd_ = (v); \
		(v) = -1;            \
		moved_fd_;           \
	})

/* Always on; for our own bugs only, never for input. A failed assertion kills the process. */
#define ASSERT(cond)                                              \
	do {                                                      \
		if (__builtin_expect(!(cond), 0))                 \
			assert_failed(#cond, __FILE__, __LINE__); \
	} while (0)

#define UNREACHABLE() assert_failed("unreachable", __FILE__, __LINE__)

/* Writes one line to stderr and aborts. Async-signal-safe. */
NORETURN void assert_failed(const char *what, const char *file, int line);

/* Closes `fd` when it is >= 0; keeps errno. Also the release function of AUTO(fd). */
void fd_close(int fd);

DEFINE_AUTO(fd, int, fd_close, -1);
