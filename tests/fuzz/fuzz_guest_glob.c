/* SPDX-License-Identifier: Apache-2.0 */
/* A glob pattern, and names behind its first line feed. Compiling and testing end, soon and without a crash.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "guest/glob.h"

#define PATTERN_MAX 200 /* longer ones only take longer */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(glob) struct glob *g = NULL;
	struct str names = str_n(data, size);
	struct str pattern = str_next(&names, '\n');

	if (pattern.n > PATTERN_MAX || !str_is_utf8(pattern) || glob_new(pattern, &g, NULL) < 0)
		return 0;
	ASSERT(g->n <= GLOB_SETS_MAX);
	for (unsigned rounds = 0; names.p && rounds < 8; rounds++) {
		struct str name = str_next(&names, '\n');
		for (size_t i = 0; i < g->n && i < 16; i++) {
			ASSERT(g->sets[i].n >= 1 && g->sets[i].n <= GLOB_PARTS_MAX);
			for (size_t k = 0; k < g->sets[i].n && k < 8; k++)
				(void)glob_part_test(&g->sets[i].parts[k], str_sub(name, 0, 255));
		}
	}
	return 0;
}
