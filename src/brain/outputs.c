/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/state.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"

struct output {
	struct brain *brain;
	struct output *next, **link; /* in brain->outputs */
	struct id session, file;
	struct str path;         /* owned */
	struct store_blob *blob; /* while it is copied */
	uint64_t size;
	int fd;
};

static void
output_free(struct output *o)
{
	*o->link = o->next;
	if (o->next != NULL)
		o->next->link = o->link;
	fd_close(o->fd);
	free((void *)(uintptr_t)o->path.p);
	free(o);
}

static void
output_end(struct output *o, const struct err *err)
{
	if (err != NULL)
		log_error("output.store", LOG_STR("session", id_str(&o->session)), LOG_STR("path", o->path),
			LOG_ERR(err));
	else
		o->brain->o.on_output_file(o->brain->o.owner, id_str(&o->session), o->path, o->file, o->size);
	output_free(o);
}

static void
on_finished(void *arg, const struct err *err)
{
	output_end(arg, err);
}

static void
on_copied(void *arg, const struct err *err)
{
	struct output *o = arg;
	struct store_blob *blob = MOVE(o->blob);
	if (err != NULL) {
		store_blob_abort(blob);
		output_end(o, err);
		return;
	}
	o->size = store_blob_size(blob);
	store_blob_finish(blob, on_finished, o);
}

void
outputs_take(void *owner, struct str session_id, struct str path, uint64_t size, int fd)
{
	struct brain *b = owner;
	struct err e = {0};
	struct output *o = calloc(1, sizeof(*o));
	char *p = o != NULL ? malloc(path.n + 1) : NULL;
	struct stat st;
	/* A pipe would hold up the thread that copies for everybody. */
	bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	if (p == NULL || size > LIM_FILE_BYTES || !regular || !id_valid(session_id, "sesn")) {
		log_error("output.skip", LOG_STR("session", session_id), LOG_STR("path", path),
			LOG_INT("size", size));
		free(p);
		free(o);
		fd_close(fd);
		return;
	}
	memcpy(p, path.p, path.n);
	*o = (struct output){.brain = b,
		.session = id_from(session_id),
		.file = id_new("file", clock_wall_us()),
		.path = str_n(p, path.n),
		.next = b->outputs,
		.link = &b->outputs,
		.fd = fd};
	if (b->outputs != NULL)
		b->outputs->link = &o->next;
	b->outputs = o;
	if (store_blob_new(b->o.store, id_str(&o->file), &o->blob, &e) < 0) {
		output_end(o, &e);
		return;
	}
	store_blob_copy(o->blob, fd, LIM_FILE_BYTES, on_copied, o);
}

void
outputs_abort(struct brain *b)
{
	struct output *next;
	for (struct output *o = b->outputs; o != NULL; o = next) {
		next = o->next;
		if (o->blob == NULL) /* its last callback is still to come */
			continue;
		store_blob_abort(o->blob);
		output_free(o);
	}
}
