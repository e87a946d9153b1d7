/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema and its history: a list of steps, each run once, in its own transaction, recorded in
 * user_version. Steps are never edited after a release; a change is a new step at the end. Inside src/store
 * only (and its tests).
 */
#pragma once

#include "store/db.h"

/* "PinF", in the file's header: another program's database is not taken for ours. */
#define SCHEMA_APPLICATION 0x50696e46

/* The steps of this release; step i leads from version i to i + 1. */
extern const char *const schema_steps[];
extern const size_t schema_n_steps;

/* Whether it may be used at all: ERR_CONFLICT when it is newer than `n` or another program's. Changes
 * nothing; gives the version (0: empty). */
int schema_check(struct db *db, size_t n, uint64_t *version, struct err *e);

/* Brings the database to version `n`, after schema_check; what fails in the middle of a step leaves the
 * version before it. */
int schema_migrate(struct db *db, const char *const *steps, size_t n, struct err *e);
