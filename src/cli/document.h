/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML or JSON document from a file ("-": standard input) as JSON text, for commands that create objects
 * from files. YAML 1.2 core scalars; no anchors, no tags.
 */
#pragma once

#include "base/buf.h"

/* ERR_INVALID with the line, ERR_IO, ERR_TOO_LARGE. */
int yaml_to_json(const char *path, struct buf *out, struct err *e);
