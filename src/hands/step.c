/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/step.h"

#include "base/attr.h"

const char *
hands_step_name(enum hands_step s)
{
	static const char *const names[STEP_COUNT] = {
#define X(name, text) [STEP_##name] = text,
		HANDS_STEPS(X)
#undef X
	};

	ASSERT(s < STEP_COUNT);
	return names[s];
}
