/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of file contents (store_blob_*). Inside src/store only. */
#pragma once

#include "store/job.h"

/* Makes and opens the folders, removes what an earlier process left unfinished. */
int blobs_open(struct store *s, struct err *e);
