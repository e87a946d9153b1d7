/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API key records: the stored form is a document whose unique key is the hash, so that the key itself is
 * nowhere.
 */
#pragma once

#include "base/hash.h"
#include "control/api.h"

#define KEY_PREFIX "pfk_"

struct key_record {
	struct id id;
	struct str name;
	bool admin;
	struct hash hash;
};

/* Writes the document. */
void key_store(struct store *s, const struct key_record *rec, store_write_cb *cb, void *arg);
/* Reads one; rec->name borrows from *body, which the caller frees. ERR_CORRUPT. */
int key_read(const struct store_doc *d, struct json_t **body, struct key_record *rec, struct err *e);
