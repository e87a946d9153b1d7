/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one entry point of a fuzz target, as libFuzzer and tests/fuzz/driver.c call it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Feeds one input to the parser under test. The bytes are borrowed, may be hostile and are not
 * NUL-terminated. Returns 0; a finding is an abort, a failed assertion or a sanitizer's report. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
