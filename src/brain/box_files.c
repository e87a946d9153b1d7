/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/box_files.h"

#include <stdlib.h>

#include "base/limits.h"

#define FILE_OVERHEAD (ID_MAX + 16) /* of one file in a claim, beside its path */
#define CLAIM_REST    (4 * KIB)

_Static_assert(LIM_RESOURCES *(LIM_MOUNT_PATH + FILE_OVERHEAD) + CLAIM_REST <= LIM_FRAME_CLAIM,
	"the files of a session fit into one claim");

void
box_files_done(struct box_files *f)
{
	for (size_t i = 0; i < f->n; i++)
		free((void *)(uintptr_t)f->list[i].path.p);
	free(f->list);
	f->list = NULL;
	f->n = 0;
}

static struct hash
hash_files(const struct box_files *f)
{
	struct hash_ctx c;
	hash_init(&c, STR_NULL);
	for (size_t i = 0; i < f->n; i++) {
		hash_add_field(&c, id_str(&f->list[i].id));
		hash_add_field(&c, f->list[i].path);
	}
	return hash_end(&c);
}

/* An over-long frame would break the connection, and with it the tool calls of all sessions. */
static int
check_size(const struct box_files *f, struct err *e)
{
	size_t n = CLAIM_REST;
	for (size_t i = 0; i < f->n; i++)
		n += FILE_OVERHEAD + f->list[i].path.n;
	if (n > LIM_FRAME_CLAIM)
		return err_set(
			e, ERR_TOO_LARGE, "the mount paths of the session's files are too long together");
	return 0;
}

int
box_files_set(struct box_files *f, const struct session_state *s, struct err *e)
{
	box_files_done(f);
	f->list = calloc(s->n_resources + 1, sizeof(*f->list));
	if (f->list == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < s->n_resources; i++) {
		const struct session_resource *r = &s->resources[i];
		if (r->file_id.z[0] == '\0')
			continue;
		char *path = malloc(r->mount_path.n + 1);
		if (path == NULL)
			return err_set(e, ERR_NO_MEMORY, "out of memory");
		(void)str_copy_z(r->mount_path, path, r->mount_path.n + 1);
		f->list[f->n++] = (struct box_file){
			.id = r->file_id, .path = str_n(path, r->mount_path.n), .size = r->size};
	}
	f->hash = hash_files(f);
	return check_size(f, e);
}

void
box_files_put(const struct box_files *f, struct frame_w *w)
{
	frame_u64(w, f->n);
	for (size_t i = 0; i < f->n; i++) {
		frame_str(w, id_str(&f->list[i].id));
		frame_str(w, f->list[i].path);
		frame_u64(w, f->list[i].size);
	}
}

bool
box_files_owed(struct box_files *f, struct str id, uint64_t claim)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->list[i].sent == claim || !str_eq(id_str(&f->list[i].id), id))
			continue;
		f->list[i].sent = claim;
		return true;
	}
	return false;
}
