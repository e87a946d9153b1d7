/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's log: one JSON line per call on stderr (or a descriptor), key/value, values escaped. base, io
 * and store never log above debug. Secrets cannot be logged: their type has no string accessor.
 *
 *   log_info("sandbox.start", LOG_STR("session", id), LOG_INT("ms", dt));
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_type { LOG_T_END, LOG_T_STR, LOG_T_INT, LOG_T_ERR };

struct log_kv {
	const char *key;
	enum log_type type;
	struct str s;
	int64_t i;
	const struct err *e;
};

#define LOG_STR(k, v) ((struct log_kv){.key = (k), .type = LOG_T_STR, .s = (v)})
#define LOG_Z(k, v)   ((struct log_kv){.key = (k), .type = LOG_T_STR, .s = str_z(v)})
#define LOG_INT(k, v) ((struct log_kv){.key = (k), .type = LOG_T_INT, .i = (int64_t)(v)})
#define LOG_ERR(err_) ((struct log_kv){.key = "error", .type = LOG_T_ERR, .e = (err_)})

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__, (struct log_kv){0})
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__, (struct log_kv){0})
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__, (struct log_kv){0})
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__, (struct log_kv){0})

/* Sets the role name that each line carries (a static string), the least level written, and the descriptor
 * (defaults: "pinfold", info, 2). Called while the process starts, before threads. */
void log_setup(const char *role, enum log_level least, int fd);

/* Writes one line by one write(2), at most 8 KiB; what does not fit is left out and "cut":true added. Keeps
 * errno. Arguments are struct log_kv values, ended by a zeroed one (the macros add it). */
void log_write(enum log_level level, const char *event, ...);
