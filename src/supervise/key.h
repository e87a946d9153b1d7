/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provider keys on their way from the operator to the gate: read once, put into a sealed memfd, wiped where
 * they were.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Takes the value of the environment variable: *fd is a sealed memfd (close-on-exec) with its bytes, and the
 * value is zeroed in the environment block, where /proc shows it. *fd = -1 when the variable is unset or
 * empty. ERR_INVALID (white space or control bytes inside, too long), ERR_IO. */
int key_take_env(const char *name, int *fd, struct err *e);

/* The first line of the file. ERR_INVALID (empty, too long, readable by everybody), ERR_NOT_FOUND, ERR_IO. */
int key_take_file(const char *path, int *fd, struct err *e);
