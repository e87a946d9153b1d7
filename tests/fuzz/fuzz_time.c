/* SPDX-License-Identifier: Apache-2.0 */
/* Dates of query strings and bodies: what parses must come back from its printed form as the same instant. */
#include "fuzz.h"

#include "base/clock.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	uint64_t us = 0, again = 0;
	char text[TIME_TEXT_MAX];

	if (time_parse(str_n(data, size), &us, &e) < 0) {
		ASSERT(e.kind == ERR_INVALID && us == 0);
		return 0;
	}
	ASSERT(strlen(time_format(us, text)) < sizeof(text));
	ASSERT(time_parse(str_z(text), &again, NULL) == 0 && again == us);
	return 0;
}
