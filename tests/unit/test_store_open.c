/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: migrations, foreign and damaged files, the lock, modes; and the plans of all statements. */
#include "test_store_kit.h"

#include <sys/wait.h>

#include "store/schema.h"

/* Opens store.db in k->dir by hand. */
static void
make_db(struct kit *k, struct db *db)
{
	char path[128];
	struct err e = {0};

	snprintf(path, sizeof(path), "%s/store.db", k->dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(db_open(db, path, false, &e), 0);
}

static void
write_file(const struct kit *k, const char *name, struct str content)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", k->dir, name);
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content.p, content.n), content.n);
	close(fd);
}

static void
open_fails(struct kit *k, enum err_kind want, const char *text)
{
	struct err e = {0};

	assert_int_equal(kit_try_open(k, &e), -(int)want);
	assert_null(k->store);
	if (!strstr(e.msg, text))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, text);
}

/* k->dir becomes a path below the directory; dir_up takes the last part off again. */
static void
dir_down(struct kit *k, const char *name)
{
	size_t n = strlen(k->dir);

	snprintf(k->dir + n, sizeof(k->dir) - n, "/%s", name);
}

static void
dir_up(struct kit *k)
{
	*strrchr(k->dir, '/') = '\0';
}

static void
test_empty_directory(void **state)
{
	struct kit *k = *state;
	static const char *const names[] = {"store.db", "store.db-wal", "lock"};
	char path[160];
	struct stat st;

	/* Readable by nobody else. */
	dir_down(k, "data");
	kit_open(k);
	assert_int_equal(stat(k->dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", k->dir, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	assert_int_equal(kit_number(k, "PRAGMA user_version"), schema_n_steps);
	kit_close(k);
	dir_up(k);
}

static void
test_directory_that_cannot_be_made(void **state)
{
	struct kit *k = *state;

	dir_down(k, "no");
	dir_down(k, "data");
	open_fails(k, ERR_IO, "data directory");
	dir_up(k);
	dir_up(k);
	write_file(k, "file", STR("x"));
	dir_down(k, "file");
	open_fails(k, ERR_IO, "data directory");
	dir_up(k);
}

/* A version-1 file with content gets the later steps, and keeps its content. */
static void
test_migration_from_an_older_schema(void **state)
{
	struct kit *k = *state;
	const char *steps[] = {schema_steps[0],
		"CREATE TABLE later(x INTEGER) STRICT; INSERT INTO later VALUES(7);",
		"ALTER TABLE later ADD COLUMN y INTEGER;"};
	struct db db;
	struct err e = {0};
	uint64_t n = 0;

	make_db(k, &db);
	assert_int_equal(schema_migrate(&db, steps, 1, &e), 0);
	assert_int_equal(db_number(&db, "PRAGMA user_version", &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(db_exec(&db, "INSERT INTO tombstones VALUES(1, 'sesn_x', x'00', 3, 4, 1)", &e), 0);
	db_close(&db, true);

	make_db(k, &db);
	assert_int_equal(schema_migrate(&db, steps, 3, &e), 0);
	assert_int_equal(db_number(&db, "PRAGMA user_version", &n, &e), 0);
	assert_int_equal(n, 3);
	assert_int_equal(db_number(&db, "SELECT last_seq FROM tombstones WHERE id = 'sesn_x'", &n, &e), 0);
	assert_int_equal(n, 3);
	assert_int_equal(db_number(&db, "SELECT count(*) FROM later WHERE x = 7 AND y IS NULL", &n, &e), 0);
	assert_int_equal(n, 1);
	/* Nothing to do the second time. */
	assert_int_equal(schema_migrate(&db, steps, 3, &e), 0);
	db_close(&db, true);
}

static void
test_failing_migration_leaves_the_version_before(void **state)
{
	struct kit *k = *state;
	const char *steps[] = {
		schema_steps[0], "CREATE TABLE half(x INTEGER) STRICT; INSERT INTO nowhere VALUES(1);"};
	struct db db;
	struct err e = {0};
	uint64_t n = 0;

	make_db(k, &db);
	assert_true(schema_migrate(&db, steps, 2, &e) < 0);
	assert_non_null(strstr(e.msg, "schema step 2"));
	assert_int_equal(db_number(&db, "PRAGMA user_version", &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(db_number(&db, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'", &n, &e), 0);
	assert_int_equal(n, 0);
	db_close(&db, true);
	/* The release that has only the first step goes on with it. */
	kit_open(k);
	do_create(k, "sesn_a");
}

static void
test_newer_schema_is_refused(void **state)
{
	struct kit *k = *state;
	struct db db;

	make_db(k, &db);
	assert_int_equal(schema_migrate(&db, schema_steps, schema_n_steps, NULL), 0);
	assert_int_equal(db_exec(&db, "PRAGMA user_version = 99", NULL), 0);
	db_close(&db, true);
	open_fails(k, ERR_CONFLICT, "newer Pinfold");
}

static void
test_foreign_database_is_refused(void **state)
{
	struct kit *k = *state;
	struct db db;

	make_db(k, &db);
	assert_int_equal(db_exec(&db, "CREATE TABLE cookies(x)", NULL), 0);
	db_close(&db, true);
	open_fails(k, ERR_CONFLICT, "not a Pinfold database");
	/* And left as it was. */
	assert_int_equal(
		kit_number(k, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'delete'"), 1);
	make_db(k, &db);
	assert_int_equal(db_exec(&db, "DROP TABLE cookies; PRAGMA application_id = 1", NULL), 0);
	db_close(&db, true);
	open_fails(k, ERR_CONFLICT, "not a Pinfold database");
}

static void
test_text_file_is_refused_with_advice(void **state)
{
	struct kit *k = *state;
	AUTO(buf) struct buf text = {0};

	buf_init(&text, 1 << 20);
	while (text.n < 20000)
		buf_put_z(&text, "this is not a database\n");
	write_file(k, "store.db", buf_str(&text));
	open_fails(k, ERR_CORRUPT, "restore a backup");
}

static void
copy_file(const struct kit *k, const struct kit *to, const char *name)
{
	static char bytes[1 << 20];
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", k->dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t n = read(fd, bytes, sizeof(bytes));
	assert_true(n > 0 && n < (ssize_t)sizeof(bytes));
	close(fd);
	write_file(to, name, str_n(bytes, (size_t)n));
}

/* Copies the files of a running store, as a crash would leave them. */
static void
copy_running(const struct kit *k, const struct kit *to)
{
	copy_file(k, to, "store.db");
	copy_file(k, to, "store.db-wal");
}

static void
overwrite(const struct kit *k, const char *name, off_t at, size_t n)
{
	char path[128], junk[4096];

	memset(junk, 0x5a, sizeof(junk));
	snprintf(path, sizeof(path), "%s/%s", k->dir, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, n, at), n);
	close(fd);
}

/* Without a clean stop the file is looked through; a damaged page is found before it is served. */
static void
test_damaged_page_after_a_crash(void **state)
{
	struct kit *k = *state;
	struct kit crashed;

	kit_open(k);
	do_create(k, "sesn_a");
	kit_reopen(k); /* all in store.db now */
	do_row(k, "sesn_a", EV_AGENT_MESSAGE, "{}");
	kit_new(&crashed);
	copy_running(k, &crashed);
	kit_open(&crashed);
	assert_int_equal(kit_verify(&crashed), 2);
	kit_close(&crashed);

	copy_running(k, &crashed);
	overwrite(&crashed, "store.db", 3 * 4096, 4096);
	open_fails(&crashed, ERR_CORRUPT, "restore a backup");
	kit_done(&crashed);
}

/* Found when it is read: this session's reads fail, and the process lives. */
static void
test_damaged_page_while_running(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of("sesn_a", &r, 1);
	struct got g;

	kit_open(k);
	do_create(k, "sesn_a");
	for (int i = 0; i < 300; i++)
		do_row(k, "sesn_a", EV_AGENT_MESSAGE, "{\"some\":\"bytes to fill a few pages with rows\"}");
	kit_close(k);
	uint64_t root = kit_number(k, "SELECT rootpage FROM sqlite_schema WHERE name = 'events'");
	overwrite(k, "store.db", (off_t)(root - 1) * 4096, 4096);
	kit_open(k);
	do_load(k, "sesn_a", true, &g);
	assert_int_equal(g.kind, ERR_CORRUPT);
	got_end(&g);
	/* A damaged file is not written to. */
	assert_int_equal(do_append(k, &a, NULL), ERR_CORRUPT);
	assert_int_equal(k->failed.kind, ERR_CORRUPT);
	assert_int_equal(do_append(k, &a, NULL), ERR_CORRUPT);
}

static void
test_second_store_is_refused(void **state)
{
	struct kit *k = *state;
	struct kit second = *k;
	struct err e = {0};

	kit_open(k);
	second.store = NULL;
	assert_err(kit_try_open(&second, &e), e, ERR_CONFLICT);
	assert_non_null(strstr(e.msg, "in use by another process"));
	kit_close(k);
	kit_open(k);
}

/* The lock is held by the process, whatever became of its threads: a fork does not free it, its end does. */
static void
test_second_process_is_refused(void **state)
{
	struct kit *k = *state;
	int ready[2], stop[2];
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		kit_open(k);
		if (write(ready[1], "x", 1) != 1 || read(stop[0], &c, 1) < 0)
			_exit(1);
		_exit(0); /* no clean stop */
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	open_fails(k, ERR_CONFLICT, "in use by another process");
	assert_int_equal(write(stop[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	kit_open(k);
}

/* ---- plans ---- */

/* One line a step: "SEARCH events USING INDEX events_seq (session=? AND seq>?)". */
static void
explain(struct db *db, const char *sql, struct buf *out)
{
	char text[2048];
	struct err e = {0};

	buf_clear(out);
	snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s", sql);
	AUTO(q) struct q q = q_start_text(db, text);
	int r;
	while ((r = q_step(&q, &e)) == 1)
		buf_printf(out, "%.*s\n", STRF(q_col_str(&q, 3)));
	if (r < 0)
		fail_msg("%s: %s", sql, e.msg);
	buf_put_c(out, '\0');
}

static const struct {
	const char *name, *sql;
} statements[] = {
#define X(name, text) {#name, text},
	SQL_STATEMENTS(X)
#undef X
};

/* Every statement compiles against the schema; none walks a table or sorts. */
static void
test_statements_use_indexes(void **state)
{
	struct kit *k = *state;
	AUTO(buf) struct buf plan = {0};
	struct db db;

	buf_init(&plan, 1 << 16);
	kit_open(k);
	kit_db(k, &db);
	for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
		const char *name = statements[i].name;
		if (strcmp(name, "COMMIT") == 0 || strncmp(name, "BEGIN", 5) == 0 ||
			strcmp(name, "ROLLBACK") == 0)
			continue;
		explain(&db, statements[i].sql, &plan);
		bool partial = strcmp(name, "SESSIONS_OPEN") == 0 || strcmp(name, "PURGE_NEXT") == 0;
		if (strstr(plan.p, "TEMP B-TREE") || (strstr(plan.p, "SCAN") && !partial))
			fail_msg("%s: %s", name, plan.p);
		if (partial &&
			!strstr(plan.p, strcmp(name, "PURGE_NEXT") ? "sessions_open" : "tombstones_unpurged"))
			fail_msg("%s: %s", name, plan.p);
	}
	db_close(&db, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		DIR_TEST(test_empty_directory),
		DIR_TEST(test_directory_that_cannot_be_made),
		DIR_TEST(test_migration_from_an_older_schema),
		DIR_TEST(test_failing_migration_leaves_the_version_before),
		DIR_TEST(test_newer_schema_is_refused),
		DIR_TEST(test_foreign_database_is_refused),
		DIR_TEST(test_text_file_is_refused_with_advice),
		DIR_TEST(test_damaged_page_after_a_crash),
		DIR_TEST(test_damaged_page_while_running),
		DIR_TEST(test_second_store_is_refused),
		DIR_TEST(test_second_process_is_refused),
		DIR_TEST(test_statements_use_indexes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
