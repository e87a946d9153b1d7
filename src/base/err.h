/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error object: plain data on the caller's stack, never allocated, copyable over role calls.
 *
 * A function that can fail returns 0 or a negative error kind (-ERR_x) and, when `e` is not NULL, fills it.
 * `*e` is untouched on success; outputs are untouched on failure. Whoever handles an error logs it, once.
 * One table gives the HTTP status, the API's error type and the CLI's exit code of each kind.
 */
#pragma once

#include "base/attr.h"

/*	kind          http  exit  api type                 */
#define ERR_KINDS(X)                                                                         \
	X(INVALID, 400, 64, "invalid_request_error") /* the caller's input is wrong */       \
	X(UNAUTHENTICATED, 401, 77, "authentication_error")                                  \
	X(FORBIDDEN, 403, 77, "permission_error")                                            \
	X(NOT_FOUND, 404, 66, "not_found_error")                                             \
	X(TIMEOUT, 408, 75, "timeout_error")                                                 \
	X(CONFLICT, 409, 65, "conflict_error")                                               \
	X(TOO_LARGE, 413, 65, "request_too_large") /* a ceiling of limits.h was reached */   \
	X(HEADERS_TOO_LARGE, 431, 65, "invalid_request_error")                               \
	X(RATE_LIMITED, 429, 75, "rate_limit_error")                                         \
	X(INTERNAL, 500, 70, "api_error")                                                    \
	X(UNAVAILABLE, 503, 69, "api_error") /* a role or dependency is away; try again */   \
	X(NO_MEMORY, 503, 71, "api_error")                                                   \
	X(IO, 500, 74, "api_error")      /* a system call failed; `os` holds errno */        \
	X(CORRUPT, 500, 65, "api_error") /* stored or received data breaks its own format */ \
	X(AGAIN, 503, 75, "api_error")   /* a try_ function says: not now */                 \
	X(FENCED, 409, 75, "api_error")  /* the lease's epoch is stale */                    \
	X(OVERLOADED, 529, 75, "overloaded_error")                                           \
	X(NOT_IMPLEMENTED, 501, 69, "api_error")

enum err_kind {
	ERR_NONE = 0,
#define X(kind, http, exit, type) ERR_##kind,
	ERR_KINDS(X)
#undef X
		ERR_COUNT
};

#define ERR_MSG_MAX 224

struct err {
	enum err_kind kind;
	int os;            /* errno at the failure, or 0 */
	const char *where; /* static string: "file:line" of the failure site */
	const char *code;  /* static string: error.details.error_code for the API, or NULL */
	char msg[ERR_MSG_MAX];
};

#define ERR_STR2(x) #x
#define ERR_STR(x)  ERR_STR2(x)
#define ERR_WHERE   __FILE__ ":" ERR_STR(__LINE__)

/* Sets `e` and yields -kind, so that a failure site is one line: return err_set(e, ERR_INVALID, "..."). */
#define err_set(e, kind, ...) err_set_at(e, kind, 0, ERR_WHERE, __VA_ARGS__)

/* The same with an API error code ("environment_archived"). */
#define err_code(e, kind, code, ...) err_code_at(e, kind, code, ERR_WHERE, __VA_ARGS__)

/* The same for a failed system call: keeps errno and appends its text. */
#define err_os(e, ...) err_os_at(e, ERR_WHERE, __VA_ARGS__)

/* Fills `e` (may be NULL); a message over ERR_MSG_MAX-1 bytes is cut. Returns -kind. */
int err_set_at(struct err *e, enum err_kind kind, int os, const char *where, const char *fmt, ...)
	PRINTF_FMT(5, 6);

/* As err_set_at, with a static API error code. Returns -kind. */
int err_code_at(struct err *e, enum err_kind kind, const char *code, const char *where, const char *fmt, ...)
	PRINTF_FMT(5, 6);

/* ERR_IO (ERR_NO_MEMORY for ENOMEM) from the current errno. Returns -kind; keeps errno. */
int err_os_at(struct err *e, const char *where, const char *fmt, ...) PRINTF_FMT(3, 4);

/* Puts "what: " before the message of a failure that is passed up. Returns -e->kind, or -ERR_INTERNAL when
 * `e` is NULL. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_FMT(2, 3);

/* HTTP status, process exit code, API error type and name ("INVALID") of a kind; the strings are static. */
int err_http_status(enum err_kind kind);
int err_exit_code(enum err_kind kind);
const char *err_api_type(enum err_kind kind);
const char *err_kind_name(enum err_kind kind);
