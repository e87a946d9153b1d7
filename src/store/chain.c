/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chain.h"

struct hash
chain_start(struct str session_id)
{
	struct hash_ctx c;

	hash_init(&c, STR_NULL);
	hash_add_field(&c, STR("pinfold.log.1"));
	hash_add_field(&c, session_id);
	return hash_end(&c);
}

struct hash
chain_next(const struct hash *prev, const struct event_row *row, const uint8_t facts[EVENT_FACTS_BYTES])
{
	struct hash_ctx c;
	uint8_t seq[4];

	for (int i = 0; i < 4; i++)
		seq[i] = (uint8_t)(row->seq >> (8 * i));
	hash_init(&c, STR_NULL);
	hash_add_field(&c, str_n(prev->b, HASH_BYTES));
	hash_add_field(&c, str_n(seq, sizeof(seq)));
	hash_add_field(&c, id_str(&row->id));
	hash_add_field(&c, str_n(facts, EVENT_FACTS_BYTES));
	hash_add_field(&c, row->thread);
	hash_add_field(&c, row->body);
	hash_add_field(&c, row->private_);
	return hash_end(&c);
}
