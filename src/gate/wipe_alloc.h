/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator for libcurl that zeroes memory when it is given back: headers with keys pass through libcurl's
 * buffers.
 */
#pragma once

/* Initialises libcurl with it. Not 0: libcurl cannot be used. */
int wipe_alloc_install(void);
