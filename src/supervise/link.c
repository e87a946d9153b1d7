/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/link.h"

#include <string.h>
#include <sys/socket.h>

void
links_init(struct link links[LINKS])
{
	static const char *const ends[LINKS][2] = {{"control", "gate"}, {"control", "hands"}};

	for (size_t i = 0; i < LINKS; i++) {
		links[i].a = (struct link_end){ends[i][0], -1};
		links[i].b = (struct link_end){ends[i][1], -1};
		links[i].number = 0;
	}
}

void
links_done(struct link links[LINKS])
{
	for (size_t i = 0; i < LINKS; i++) {
		link_drop(&links[i].a);
		link_drop(&links[i].b);
	}
}

struct link_end *
link_other(struct link *k, const char *role, struct link_end **own)
{
	if (strcmp(k->a.role, role) == 0) {
		*own = &k->a;
		return &k->b;
	}
	if (strcmp(k->b.role, role) == 0) {
		*own = &k->b;
		return &k->a;
	}
	return NULL;
}

int
link_start(struct link *k, struct link_end *own, int *mine, int *theirs, struct err *e)
{
	int pair[2];

	*theirs = -1;
	if (own->kept >= 0) {
		*mine = MOVE_FD(own->kept);
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_os(e, "connect %s with %s", k->a.role, k->b.role);
	k->number++;
	*mine = pair[0];
	*theirs = pair[1];
	return 0;
}

void
link_drop(struct link_end *other)
{
	fd_close(MOVE_FD(other->kept));
}
