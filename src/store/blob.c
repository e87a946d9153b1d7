/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File contents: <dir>/files/<two hex digits of the id's hash>/<id>. Written under files/tmp and renamed when
 * they are durable, so that a name always has its whole content. What is left in files/tmp is removed at the
 * next start.
 */
#include "store/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

#define COPY_BYTES (1024 * 1024)
#define NAME_MAX_  (ID_MAX + 32)

/* Owned by the caller's side (loop), lent to the file thread while `busy`. */
struct store_blob {
	struct store *store;
	struct id id;
	int fd;
	uint64_t size;
	char temp[NAME_MAX_];
	bool busy;
	atomic_bool aborted;
};

enum file_verb { FILE_COPY, FILE_FINISH, FILE_UNLINK };

struct file_job {
	struct job job;
	enum file_verb verb;
	struct store_blob *blob;
	int from;
	uint64_t max, copied;
	char temp[NAME_MAX_]; /* FILE_UNLINK */
};

/* ---- names ---- */

/* Ids become file names: letters, digits, '_' and '-' only. */
static int
check_id(struct str id, struct err *e)
{
	bool ok = id.n > 0 && id.n < ID_MAX;

	for (size_t i = 0; ok && i < id.n; i++) {
		char c = id.p[i];
		ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		     c == '-';
	}
	return ok ? 0 : err_set(e, ERR_INVALID, "not a file id");
}

/* "5f", the folder of an id. */
static void
folder_of(struct str id, char out[3])
{
	struct hash h = hash_of(id);
	char hex[HASH_HEX];

	hash_hex(&h, hex);
	out[0] = hex[0];
	out[1] = hex[1];
	out[2] = '\0';
}

static void
path_of(struct str id, char out[NAME_MAX_])
{
	char folder[3];

	folder_of(id, folder);
	snprintf(out, NAME_MAX_, "%s/%.*s", folder, STRF(id));
}

static void
temp_name(struct store *s, const char *what, char out[NAME_MAX_])
{
	snprintf(out, NAME_MAX_, "%s.%llu", what, (unsigned long long)s->n_temp++);
}

/* ---- start ---- */

static int
open_folder(int at, const char *name, int *out, struct err *e)
{
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return err_os(e, "make folder %s", name);
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_os(e, "open folder %s", name);
	*out = fd;
	return 0;
}

static int
empty_folder(int fd, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		fd_close(copy);
		return err_os(e, "read folder tmp");
	}
	for (struct dirent *f = readdir(d); f; f = readdir(d)) {
		if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0)
			unlinkat(fd, f->d_name, 0);
	}
	closedir(d);
	return 0;
}

int
blobs_open(struct store *s, struct err *e)
{
	int r = open_folder(s->dir_fd, "files", &s->files_fd, e);

	if (r == 0)
		r = open_folder(s->files_fd, "tmp", &s->temp_fd, e);
	return r < 0 ? r : empty_folder(s->temp_fd, e);
}

/* ---- writing ---- */

int
store_blob_new(struct store *s, struct str id, struct store_blob **out, struct err *e)
{
	int r = check_id(id, e);

	if (r < 0)
		return r;
	if (s->closing)
		return err_set(e, ERR_UNAVAILABLE, "the store is closing");
	struct store_blob *b = calloc(1, sizeof(*b));
	if (!b)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	b->store = s;
	b->id = id_from(id);
	temp_name(s, b->id.z, b->temp);
	b->fd = openat(s->temp_fd, b->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (b->fd < 0) {
		r = err_os(e, "create file content");
		free(b);
		return r;
	}
	*out = b;
	return 0;
}

/* Writes all at the end of the content; *size moves by what was written. */
static int
write_all(int fd, uint64_t *size, struct str bytes, struct err *e)
{
	while (bytes.n > 0) {
		ssize_t n = pwrite(fd, bytes.p, bytes.n, (off_t)*size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_os(e, "write file content");
		*size += (uint64_t)n;
		bytes = str_sub(bytes, (size_t)n, bytes.n);
	}
	return 0;
}

int
store_blob_write(struct store_blob *b, struct str bytes, struct err *e)
{
	ASSERT(!b->busy);
	return write_all(b->fd, &b->size, bytes, e);
}

uint64_t
store_blob_size(const struct store_blob *b)
{
	return b->size;
}

static void
blob_free(struct store_blob *b, bool unlink_temp)
{
	if (unlink_temp)
		unlinkat(b->store->temp_fd, b->temp, 0);
	fd_close(b->fd);
	free(b);
}

void
store_blob_abort(struct store_blob *b)
{
	if (!b)
		return;
	if (b->busy) /* the file thread has it: file_deliver frees */
		atomic_store(&b->aborted, true);
	else
		blob_free(b, true);
}

/* ---- the file thread ---- */

/* Copies a piece in the kernel. >0: bytes, 0: end, <0: -errno. */
static ssize_t
copy_in_kernel(struct file_job *fj, uint64_t want)
{
	off_t from = (off_t)fj->copied, to = (off_t)fj->blob->size;
	ssize_t n = copy_file_range(fj->from, &from, fj->blob->fd, &to, want, 0);

	return n < 0 ? -errno : n;
}

/* The same by hand, for pipes and for pairs of file systems that cannot. */
static ssize_t
copy_by_hand(struct file_job *fj, char *piece, uint64_t want, struct err *e)
{
	size_t max = want < LIM_CHUNK ? want : LIM_CHUNK;
	ssize_t n = pread(fj->from, piece, max, (off_t)fj->copied);

	if (n < 0 && errno == ESPIPE)
		n = read(fj->from, piece, max);
	if (n < 0 && errno == EINTR)
		return copy_by_hand(fj, piece, want, e);
	if (n < 0)
		return err_os(e, "read the file to be copied");
	uint64_t size = fj->blob->size;
	int r = write_all(fj->blob->fd, &size, str_n(piece, (size_t)n), e);
	return r < 0 ? r : n;
}

static bool
kernel_cannot(ssize_t n)
{
	return n == -EXDEV || n == -EINVAL || n == -ENOSYS || n == -EOPNOTSUPP || n == -EBADF || n == -EPERM;
}

/* Copies to the end of `from`, or one byte over `max` to see that it is too long. */
static int
copy_all(struct file_job *fj, char *piece, struct err *e)
{
	bool in_kernel = true;

	while (!atomic_load(&fj->blob->aborted) && fj->copied <= fj->max) {
		uint64_t want = fj->max - fj->copied;
		want = want < COPY_BYTES ? want + 1 : COPY_BYTES;
		ssize_t n = in_kernel ? copy_in_kernel(fj, want) : copy_by_hand(fj, piece, want, e);
		if (in_kernel && (n == 0 || kernel_cannot(n))) {
			/* Also after an end of file: files of the kernel's own (procfs) only look empty to
			 * it. */
			in_kernel = false;
			continue;
		}
		if (n < 0 && in_kernel) {
			errno = (int)-n;
			return err_os(e, "copy file content");
		}
		if (n <= 0)
			return (int)n;
		fj->copied += (uint64_t)n;
		fj->blob->size += (uint64_t)n;
	}
	if (fj->copied > fj->max)
		return err_set(e, ERR_TOO_LARGE, "file over %llu bytes", (unsigned long long)fj->max);
	return 0;
}

static int
copy_run(struct file_job *fj, struct err *e)
{
	char *piece = malloc(LIM_CHUNK);

	if (!piece)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	int r = copy_all(fj, piece, e);
	free(piece);
	return r;
}

/* A new folder's name must be as durable as what is put into it. */
static int
folder_for(struct store *s, struct str id, int *out, struct err *e)
{
	char name[3];

	folder_of(id, name);
	bool made = mkdirat(s->files_fd, name, 0700) == 0;
	int r = open_folder(s->files_fd, name, out, e);
	if (r == 0 && made && fsync(s->files_fd) < 0)
		r = err_os(e, "flush folder files");
	return r;
}

static int
finish_run(struct file_job *fj, struct err *e)
{
	struct store_blob *b = fj->blob;
	struct store *s = b->store;
	AUTO(fd) int folder = -1;

	if (fsync(b->fd) < 0)
		return err_os(e, "flush file content");
	int r = folder_for(s, id_str(&b->id), &folder, e);
	if (r < 0)
		return r;
	if (renameat(s->temp_fd, b->temp, folder, b->id.z) < 0)
		return err_os(e, "name file content");
	if (fsync(folder) == 0)
		return 0;
	r = err_os(e, "flush folder of file content");
	unlinkat(folder, b->id.z, 0);
	return r;
}

static int
file_run(struct job *j, struct worker *w, struct err *e)
{
	struct file_job *fj = CONTAINER_OF(j, struct file_job, job);

	switch (fj->verb) {
	case FILE_COPY:
		return copy_run(fj, e);
	case FILE_FINISH:
		return finish_run(fj, e);
	case FILE_UNLINK:
		unlinkat(w->store->temp_fd, fj->temp, 0);
		return 0;
	}
	UNREACHABLE();
}

/* ---- back on the loop ---- */

static void
file_deliver(struct job *j)
{
	const struct err *err = j->failed ? &j->err : NULL;
	struct file_job *fj = CONTAINER_OF(j, struct file_job, job);

	if (j->bare) {
		if (j->cb.done)
			j->cb.done(j->arg, err);
		return;
	}
	struct store_blob *b = fj->blob;
	if (fj->verb == FILE_UNLINK)
		return;
	b->busy = false;
	if (fj->verb == FILE_FINISH)
		blob_free(b, j->failed);
	else if (atomic_load(&b->aborted)) {
		blob_free(b, true);
		return;
	}
	j->cb.done(j->arg, err);
}

static void
file_done(struct job *j)
{
	fd_close(CONTAINER_OF(j, struct file_job, job)->from);
}

static const struct job_ops file_ops = {
	.lane = LANE_FILE, .run = file_run, .deliver = file_deliver, .done = file_done};

static struct file_job *
file_job_new(struct store_blob *b, enum file_verb verb, store_done_cb *cb, void *arg)
{
	ASSERT(!b->busy);
	struct file_job *fj =
		job_new(b->store, &file_ops, sizeof(struct file_job), (union job_cb){.done = cb}, arg);
	if (!fj)
		return NULL;
	fj->verb = verb;
	fj->blob = b;
	fj->from = -1;
	b->busy = true;
	return fj;
}

void
store_blob_copy(struct store_blob *b, int fd, uint64_t max, store_done_cb *cb, void *arg)
{
	struct file_job *fj = file_job_new(b, FILE_COPY, cb, arg);
	struct err err;

	if (!fj)
		return;
	fj->max = max < INT64_MAX ? max : INT64_MAX - 1;
	/* Our own copy: after an abort the caller's may be closed while we still read. */
	fj->from = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fj->from >= 0) {
		job_submit(&fj->job);
		return;
	}
	err_os(&err, "the file to be copied");
	job_refuse(&fj->job, &err);
}

void
store_blob_finish(struct store_blob *b, store_done_cb *cb, void *arg)
{
	struct file_job *fj = file_job_new(b, FILE_FINISH, cb, arg);

	if (fj)
		job_submit(&fj->job);
	else
		blob_free(b, true);
}

/* ---- reading and removing ---- */

int
store_blob_open(struct store *s, struct str id, int *fd, uint64_t *size, struct err *e)
{
	char path[NAME_MAX_];
	struct stat st;
	int r = check_id(id, NULL);

	if (r < 0)
		return err_set(e, ERR_NOT_FOUND, "no such file content");
	path_of(id, path);
	AUTO(fd) int f = openat(s->files_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (f < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "no such file content");
	if (f < 0 || fstat(f, &st) < 0)
		return err_os(e, "open file content");
	*size = (uint64_t)st.st_size;
	*fd = MOVE_FD(f);
	return 0;
}

int
store_blob_link(struct store *s, struct str from, struct str to, struct err *e)
{
	char old[NAME_MAX_], path[NAME_MAX_];
	AUTO(fd) int dir = -1;

	if (check_id(from, NULL) < 0 || check_id(to, NULL) < 0)
		return err_set(e, ERR_NOT_FOUND, "no such file content");
	path_of(from, old);
	path_of(to, path);
	int r = folder_for(s, to, &dir, e);
	if (r < 0)
		return r;
	if (linkat(s->files_fd, old, s->files_fd, path, 0) < 0)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "no such file content")
				       : err_os(e, "link file content");
	return fsync(dir) < 0 ? err_os(e, "flush file folder") : 0;
}

/* Freeing the blocks of a large file takes time: the name goes at once, the blocks on the file thread. */
void
store_blob_remove(struct store *s, struct str id)
{
	char path[NAME_MAX_], temp[NAME_MAX_];

	if (check_id(id, NULL) < 0)
		return;
	path_of(id, path);
	temp_name(s, "removed", temp);
	if (renameat(s->files_fd, path, s->temp_fd, temp) < 0)
		return;
	struct file_job *fj = s->closing ? NULL : calloc(1, sizeof(*fj));
	if (!fj) {
		unlinkat(s->temp_fd, temp, 0);
		return;
	}
	fj->job.store = s;
	fj->job.ops = &file_ops;
	fj->verb = FILE_UNLINK;
	fj->from = -1;
	memcpy(fj->temp, temp, sizeof(temp));
	job_submit(&fj->job);
}
