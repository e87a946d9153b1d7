/* SPDX-License-Identifier: Apache-2.0 */
/* A JavaScript regular expression: translated, compiled, and tried on short lines, whose number of paths
 * stays small. */
#include "fuzz.h"

#include "guest/regex.h"

#define PATTERN_MAX 100

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const lines[] = {"", "a", "ab", "\xc3\xa9", "aa0"};
	struct str pattern = str_n(data, size);
	const char *why = NULL;

	if (size > PATTERN_MAX || !str_is_utf8(pattern))
		return 0;
	AUTO(regex) struct regex *r = regex_new(pattern, &why);
	ASSERT((r == NULL) == (why != NULL));
	for (size_t i = 0; r && i < ARRAY_LEN(lines); i++)
		(void)regex_test(r, str_z(lines[i]));
	return 0;
}
