/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata maps (contract §2.12): at most LIM_METADATA_PAIRS string pairs; patches upsert, and delete by null
 * (environments: also by "").
 */
#pragma once

#include "base/json.h"

/* Checks a whole map and writes it normalised (an absent or null one as {}). */
int metadata_parse(const struct json_at *at, struct json_w *w, struct err *e);
/* Applies a patch to `current` and writes the result. */
int metadata_patch(const struct json_at *at, const struct json_t *current, bool empty_deletes,
	struct json_w *w, struct err *e);
