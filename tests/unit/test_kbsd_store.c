/* The tables of the development KBS: values, sessions, transactions, and files that are none. */
#include "store/kbsdb.h"
#include "support.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[300], path[400];

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/kbsdb-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/kbs.db", dir);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const tails[] = { "", "-wal", "-shm" };
    char name[420];

    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(tails); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", path, tails[i]);
        (void)unlink(name);
    }
    return rmdir(dir);
}

static struct prop_kbsdb *open_db(void)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kbsdb *db = NULL;

    OK(prop_kbsdb_open(path, &db, &err));
    return db;
}

static void expect(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                   const void *want, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *value = NULL;

    OK(prop_kbsdb_get(db, table, key, &value, &err));
    assert_int_equal(prop_secret_len(value), len);
    assert_memory_equal(prop_secret_data(value), want, len);
}

static void test_values(void **state)
{
    static const uint8_t bytes[] = { 0, 1, 0xff, 0, '\n' };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_kbsdb struct prop_kbsdb *db = open_db();
    prop_auto_secret struct prop_secret *none = NULL;
    prop_auto_json json_t *list = NULL;
    struct stat st;

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    FAILS(prop_kbsdb_get(db, PROP_KBSDB_RESOURCE, "a", &none, &err), PROP_E_NOTFOUND, "not-found");
    FAILS(prop_kbsdb_delete(db, PROP_KBSDB_RESOURCE, "a", &err), PROP_E_NOTFOUND, "not-found");
    OK(prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, "a", bytes, sizeof(bytes), &err));
    OK(prop_kbsdb_put(db, PROP_KBSDB_REFERENCE_VALUE, "a", "other", 5, &err));
    OK(prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, "Z", NULL, 0, &err));
    expect(db, PROP_KBSDB_RESOURCE, "a", bytes, sizeof(bytes));
    expect(db, PROP_KBSDB_REFERENCE_VALUE, "a", "other", 5);
    expect(db, PROP_KBSDB_RESOURCE, "Z", "", 0);
    OK(prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, "a", "new", 3, &err));
    OK(prop_kbsdb_put_new(db, PROP_KBSDB_RESOURCE, "a", "newer", 5, &err));
    OK(prop_kbsdb_put_new(db, PROP_KBSDB_RESOURCE, "b", "first", 5, &err));
    expect(db, PROP_KBSDB_RESOURCE, "a", "new", 3);
    expect(db, PROP_KBSDB_RESOURCE, "b", "first", 5);
    OK(prop_kbsdb_list(db, PROP_KBSDB_RESOURCE, &list, &err));
    prop_auto_free char *text = prop_json_compact(list);
    assert_string_equal(text, "[\"Z\",\"a\",\"b\"]");
    OK(prop_kbsdb_delete(db, PROP_KBSDB_RESOURCE, "a", &err));
    FAILS(prop_kbsdb_get(db, PROP_KBSDB_RESOURCE, "a", &none, &err), PROP_E_NOTFOUND, "not-found");
    expect(db, PROP_KBSDB_REFERENCE_VALUE, "a", "other", 5);
}

static void test_transactions(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kbsdb *db = open_db();
    prop_auto_secret struct prop_secret *none = NULL;

    (void)state;
    OK(prop_kbsdb_begin(db, &err));
    OK(prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, "a", "1", 1, &err));
    prop_kbsdb_rollback(db);
    FAILS(prop_kbsdb_get(db, PROP_KBSDB_RESOURCE, "a", &none, &err), PROP_E_NOTFOUND, "not-found");
    OK(prop_kbsdb_begin(db, &err));
    OK(prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, "a", "1", 1, &err));
    OK(prop_kbsdb_commit(db, &err));
    OK(prop_kbsdb_begin(db, &err));
    OK(prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, "b", "2", 1, &err));
    prop_kbsdb_close(db); /* without a commit */
    db = open_db();
    expect(db, PROP_KBSDB_RESOURCE, "a", "1", 1);
    FAILS(prop_kbsdb_get(db, PROP_KBSDB_RESOURCE, "b", &none, &err), PROP_E_NOTFOUND, "not-found");
    prop_kbsdb_rollback(db); /* nothing to take back is fine */
    OK(prop_kbsdb_begin(db, &err));
    OK(prop_kbsdb_commit(db, &err));
    prop_kbsdb_close(db);
}

static void test_sessions(void **state)
{
    static char tee[] = "sample", nonce[] = "bm9uY2U=", token[] = "x.y.z";
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_kbsdb struct prop_kbsdb *db = open_db();
    struct prop_kbsdb_session s = { "0123456789abcdef0123456789abcdef", tee, nonce, NULL, 1000 };
    prop_auto_kbsdb_session struct prop_kbsdb_session got = { .token = NULL };

    (void)state;
    FAILS(prop_kbsdb_session_get(db, s.id, 0, &got, &err), PROP_E_NOTFOUND, "not-found");
    OK(prop_kbsdb_session_put(db, &s, &err));
    OK(prop_kbsdb_session_get(db, s.id, 1000, &got, &err));
    assert_string_equal(got.id, s.id);
    assert_string_equal(got.tee, tee);
    assert_string_equal(got.nonce, nonce);
    assert_null(got.token);
    assert_int_equal(got.expires_s, 1000);
    prop_kbsdb_session_release(&got);
    FAILS(prop_kbsdb_session_get(db, s.id, 1001, &got, &err), PROP_E_NOTFOUND, "not-found");
    s.token = token;
    OK(prop_kbsdb_session_put(db, &s, &err));
    OK(prop_kbsdb_session_get(db, s.id, 1, &got, &err));
    assert_string_equal(got.token, token);
    prop_kbsdb_session_release(&got);
    OK(prop_kbsdb_session_purge(db, 1000, &err));
    OK(prop_kbsdb_session_get(db, s.id, 1, &got, &err));
    prop_kbsdb_session_release(&got);
    OK(prop_kbsdb_session_purge(db, 1001, &err));
    FAILS(prop_kbsdb_session_get(db, s.id, 1, &got, &err), PROP_E_NOTFOUND, "not-found");
    FAILS(prop_kbsdb_session_get(db, "no such id, and one longer than any id is", 1, &got,
                                 &err), PROP_E_NOTFOUND, "not-found");
}

static void write_file(const void *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;

    OK(prop_file_write(path, data, len, 0644, true, &err));
}

static void test_files_that_are_none(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_kbsdb struct prop_kbsdb *db = NULL;
    char nonsense[5000];
    struct stat st;

    (void)state;
    memset(nonsense, 'n', sizeof(nonsense));
    write_file(nonsense, sizeof(nonsense));
    FAILS(prop_kbsdb_open(path, &db, &err), PROP_E_INPUT, "kbs-db");
    assert_null(db);
    write_file("", 0); /* a first start that was killed at once */
    OK(prop_kbsdb_open(path, &db, &err));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    char missing[450];
    struct prop_kbsdb *other = NULL;
    (void)snprintf(missing, sizeof(missing), "%s/no/kbs.db", dir);
    assert_int_equal(prop_kbsdb_open(missing, &other, &err), PROP_E_IO);
    (void)snprintf(missing, sizeof(missing), "%s/link.db", dir);
    assert_int_equal(symlink(path, missing), 0);
    assert_int_equal(prop_kbsdb_open(missing, &other, &err), PROP_E_IO);
    assert_int_equal(unlink(missing), 0);
}

/* A process that dies in the middle of writing leaves what it had confirmed, and nothing half. */
static void test_killed_writer(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    int fds[2];
    unsigned last = 0, n;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct prop_kbsdb *db = NULL;
        if (prop_kbsdb_open(path, &db, &err) != 0)
            _exit(1);
        for (unsigned i = 1;; i++) {
            char key[16];
            (void)snprintf(key, sizeof(key), "k%u", i);
            if (prop_kbsdb_begin(db, &err) != 0 ||
                prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, key, "v", 1, &err) != 0 ||
                prop_kbsdb_put(db, PROP_KBSDB_RESOURCE, "last", &i, sizeof(i), &err) != 0 ||
                prop_kbsdb_commit(db, &err) != 0 || write(fds[1], &i, sizeof(i)) != sizeof(i))
                _exit(1);
        }
    }
    (void)close(fds[1]);
    while (last < 50 && read(fds[0], &n, sizeof(n)) == sizeof(n))
        last = n;
    assert_int_equal(kill(pid, SIGKILL), 0);
    while (read(fds[0], &n, sizeof(n)) == sizeof(n))
        last = n;
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(last >= 50);
    prop_auto_kbsdb struct prop_kbsdb *db = open_db();
    prop_auto_secret struct prop_secret *value = NULL;
    OK(prop_kbsdb_get(db, PROP_KBSDB_RESOURCE, "last", &value, &err));
    assert_int_equal(prop_secret_len(value), sizeof(n));
    memcpy(&n, prop_secret_data(value), sizeof(n));
    assert_true(n == last || n == last + 1);
    for (unsigned i = 1; i <= n + 1; i++) {
        prop_auto_secret struct prop_secret *one = NULL;
        char key[16];
        (void)snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(prop_kbsdb_get(db, PROP_KBSDB_RESOURCE, key, &one, &err),
                         i <= n ? 0 : PROP_E_NOTFOUND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_transactions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sessions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_writer, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("kbsd store", tests, NULL, NULL);
}
