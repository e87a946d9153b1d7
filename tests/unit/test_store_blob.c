/* SPDX-License-Identifier: Apache-2.0 */
#include "test_store_kit.h"

static struct store_blob *
blob_new(struct kit *k, const char *id)
{
	struct store_blob *b = NULL;
	struct err e = {0};

	assert_int_equal(store_blob_new(k->store, str_z(id), &b, &e), 0);
	return b;
}

static void
finish_expect(struct kit *k, struct store_blob *b, enum err_kind want)
{
	struct got g;

	got_start(&g, k);
	store_blob_finish(b, on_done, &g);
	got_expect(k, &g, want);
	got_end(&g);
}

static void
copy_expect(struct kit *k, struct store_blob *b, int fd, uint64_t max, enum err_kind want)
{
	struct got g;

	got_start(&g, k);
	store_blob_copy(b, fd, max, on_done, &g);
	got_expect(k, &g, want);
	got_end(&g);
}

/* `want` NULL: not found. */
static void
content_expect(struct kit *k, const char *id, struct str want)
{
	struct err e = {0};
	uint64_t size = 0;
	int fd = -1;

	if (!want.p) {
		assert_err(store_blob_open(k->store, str_z(id), &fd, &size, &e), e, ERR_NOT_FOUND);
		return;
	}
	assert_int_equal(store_blob_open(k->store, str_z(id), &fd, &size, &e), 0);
	assert_int_equal(size, want.n);
	char *got = malloc(want.n + 1);
	assert_int_equal(read(fd, got, want.n + 1), want.n);
	assert_memory_equal(got, want.p, want.n);
	free(got);
	close(fd);
}

static size_t
temp_files(const struct kit *k)
{
	char path[128];
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/files/tmp", k->dir);
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *f = readdir(d); f; f = readdir(d))
		n += f->d_name[0] != '.';
	closedir(d);
	return n;
}

static void
test_write_finish_open_remove(void **state)
{
	struct kit *k = *state;
	struct store_blob *b = blob_new(k, "file_1");

	assert_int_equal(store_blob_write(b, STR("hello "), NULL), 0);
	assert_int_equal(store_blob_write(b, STR("world"), NULL), 0);
	assert_int_equal(store_blob_size(b), 11);
	content_expect(k, "file_1", STR_NULL);
	finish_expect(k, b, ERR_NONE);
	content_expect(k, "file_1", STR("hello world"));
	kit_reopen(k);
	content_expect(k, "file_1", STR("hello world"));
	store_blob_remove(k->store, STR("file_1"));
	content_expect(k, "file_1", STR_NULL);
	store_blob_remove(k->store, STR("file_1"));
	store_blob_remove(k->store, STR("file_never"));
	kit_reopen(k);
	assert_int_equal(temp_files(k), 0);
}

static void
test_empty_content(void **state)
{
	struct kit *k = *state;

	finish_expect(k, blob_new(k, "file_0"), ERR_NONE);
	content_expect(k, "file_0", STR(""));
}

/* A second writer of the same id replaces the content as a whole. */
static void
test_same_id_twice(void **state)
{
	struct kit *k = *state;
	struct store_blob *a = blob_new(k, "file_1"), *b = blob_new(k, "file_1");

	assert_int_equal(store_blob_write(a, STR("first"), NULL), 0);
	assert_int_equal(store_blob_write(b, STR("second one"), NULL), 0);
	finish_expect(k, a, ERR_NONE);
	content_expect(k, "file_1", STR("first"));
	finish_expect(k, b, ERR_NONE);
	content_expect(k, "file_1", STR("second one"));
}

static void
test_abort_leaves_nothing(void **state)
{
	struct kit *k = *state;
	struct store_blob *b = blob_new(k, "file_1");

	assert_int_equal(store_blob_write(b, STR("x"), NULL), 0);
	assert_int_equal(temp_files(k), 1);
	store_blob_abort(b);
	store_blob_abort(NULL);
	assert_int_equal(temp_files(k), 0);
	content_expect(k, "file_1", STR_NULL);
}

static void
test_ids_that_are_no_names(void **state)
{
	struct kit *k = *state;
	static const char *const bad[] = {"", "..", "../x", "a/b", ".", "a b", "a.b", "file\n",
		"0123456789012345678901234567890123456789012345678901234567890123456789"};
	struct store_blob *b = NULL;
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_err(store_blob_new(k->store, str_z(bad[i]), &b, &e), e, ERR_INVALID);
		content_expect(k, bad[i], STR_NULL);
		store_blob_remove(k->store, str_z(bad[i]));
	}
	assert_err(store_blob_new(k->store, (struct str){"a\0b", 3}, &b, &e), e, ERR_INVALID);
	assert_null(b);
}

static int
temp_file(struct str content)
{
	char path[] = "/tmp/pinfold-blob-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, content.p, content.n), content.n);
	return fd;
}

static void
test_copy_from_a_file(void **state)
{
	struct kit *k = *state;
	size_t size = 3 * MIB + 17;
	char *bytes = malloc(size);

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	/* The descriptor's own position does not matter, and is not moved. */
	int fd = temp_file(str_n(bytes, size));
	assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
	struct store_blob *b = blob_new(k, "file_1");
	copy_expect(k, b, fd, size, ERR_NONE);
	assert_int_equal(store_blob_size(b), size);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 5);
	finish_expect(k, b, ERR_NONE);
	content_expect(k, "file_1", str_n(bytes, size));

	b = blob_new(k, "file_2");
	copy_expect(k, b, fd, size - 1, ERR_TOO_LARGE);
	store_blob_abort(b);
	close(fd);
	free(bytes);
	assert_int_equal(temp_files(k), 0);
}

static void
test_copy_what_the_kernel_cannot_splice(void **state)
{
	struct kit *k = *state;
	struct store_blob *b = blob_new(k, "file_1");
	int pipe_fds[2];

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	assert_int_equal(write(pipe_fds[1], "through a pipe", 14), 14);
	close(pipe_fds[1]);
	copy_expect(k, b, pipe_fds[0], 14, ERR_NONE);
	finish_expect(k, b, ERR_NONE);
	content_expect(k, "file_1", STR("through a pipe"));
	close(pipe_fds[0]);

	/* Files of the kernel's own say they are empty. */
	int proc = open("/proc/self/limits", O_RDONLY | O_CLOEXEC);
	char text[8192];
	ssize_t n = pread(proc, text, sizeof(text), 0);
	b = blob_new(k, "file_2");
	copy_expect(k, b, proc, sizeof(text), ERR_NONE);
	finish_expect(k, b, ERR_NONE);
	content_expect(k, "file_2", str_n(text, (size_t)n));
	close(proc);
}

static void
test_copy_of_no_descriptor(void **state)
{
	struct kit *k = *state;
	struct store_blob *b = blob_new(k, "file_1");
	int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	copy_expect(k, b, -1, 10, ERR_IO);
	copy_expect(k, b, dir, 10, ERR_IO);
	store_blob_abort(b);
	close(dir);
	assert_int_equal(temp_files(k), 0);
}

/* Aborting ends a copy that would never end by itself; its callback does not come. */
static void
test_abort_during_a_copy(void **state)
{
	struct kit *k = *state;
	struct store_blob *b = blob_new(k, "file_1");
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct got copied = {.kit = k}, g;

	store_blob_copy(b, zero, LIM_FILE_BYTES, on_done, &copied);
	close(zero);
	store_blob_abort(b);
	/* The file thread is free again when the next one is done. */
	b = blob_new(k, "file_2");
	got_start(&g, k);
	store_blob_finish(b, on_done, &g);
	got_expect(k, &g, ERR_NONE);
	got_end(&g);
	assert_int_equal(copied.calls, 0);
	assert_int_equal(temp_files(k), 0);
}

/* What a killed process left in files/tmp goes at the next start. */
static void
test_leftovers_are_removed(void **state)
{
	struct kit *k = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/files/tmp/file_1.0", k->dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(temp_files(k), 1);
	kit_reopen(k);
	assert_int_equal(temp_files(k), 0);
}

static void
test_close_finishes_blobs(void **state)
{
	struct kit *k = *state;
	struct store_blob *b = blob_new(k, "file_1");
	struct got g;

	assert_int_equal(store_blob_write(b, STR("kept"), NULL), 0);
	got_start(&g, k);
	store_blob_finish(b, on_done, &g);
	kit_close(k);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.kind, ERR_NONE);
	got_end(&g);
	kit_open(k);
	content_expect(k, "file_1", STR("kept"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		KIT_TEST(test_write_finish_open_remove),
		KIT_TEST(test_empty_content),
		KIT_TEST(test_same_id_twice),
		KIT_TEST(test_abort_leaves_nothing),
		KIT_TEST(test_ids_that_are_no_names),
		KIT_TEST(test_copy_from_a_file),
		KIT_TEST(test_copy_what_the_kernel_cannot_splice),
		KIT_TEST(test_copy_of_no_descriptor),
		KIT_TEST(test_abort_during_a_copy),
		KIT_TEST(test_leftovers_are_removed),
		KIT_TEST(test_close_finishes_blobs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
