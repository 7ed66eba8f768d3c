/* The ledger: what is remembered, across processes and crashes, and what is refused. */
#include "store/ledger.h"

#include "util/file.h"

#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[256];
static char path[300];

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, sizeof dir, "%s/ledger-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/ledger.db", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = { "ledger.db", "ledger.db.lock", "ledger.db-journal",
                                         "ledger.db-wal", "ledger.db-shm" };
    char name[400];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        (void)unlink(name);
    }
    return rmdir(dir);
}

static struct prop_ledger *open_ledger(void)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = NULL;
    if (prop_ledger_open(path, &l, &err) != 0)
        fail_msg("open: %s", err.message);
    return l;
}

/* Straight into the file, past the ledger. */
static void sql(const char *text)
{
    sqlite3 *db = NULL;
    mode_t old = umask(077);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    (void)umask(old);
}

static void test_policies(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = open_ledger();
    char *rego = NULL, *document = NULL;
    assert_int_equal(prop_ledger_last_policy(l, "https://a", &rego, &document, &err),
                     PROP_E_NOTFOUND);
    assert_string_equal(prop_err_id(&err), "policy-unknown");
    assert_null(rego);
    assert_int_equal(prop_ledger_add_policy(l, "https://a", "one", "doc one", NULL), 0);
    assert_int_equal(prop_ledger_add_policy(l, "https://a", "two", NULL, NULL), 0);
    assert_int_equal(prop_ledger_add_policy(l, "https://b", "other", "doc 'b'; --", NULL), 0);
    assert_int_equal(prop_ledger_last_policy(l, "https://a", &rego, &document, NULL), 0);
    assert_string_equal(rego, "two");
    assert_null(document);
    prop_free(rego);
    prop_ledger_close(l);

    l = open_ledger(); /* another process, later */
    assert_int_equal(prop_ledger_last_policy(l, "https://b", &rego, &document, NULL), 0);
    assert_string_equal(rego, "other");
    assert_string_equal(document, "doc 'b'; --");
    prop_free(rego);
    prop_free(document);
    prop_ledger_close(l);
}

static void test_keys(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = open_ledger();
    char found[17] = "untouched";
    assert_int_equal(prop_ledger_find_key(l, "https://a", "r/t/n", found, &err), PROP_E_NOTFOUND);
    assert_string_equal(found, "untouched");
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/n", "0123456789abcdef", "h/x@y", NULL),
                     0);
    assert_int_equal(prop_ledger_find_key(l, "https://a", "r/t/n", found, NULL), 0);
    assert_string_equal(found, "0123456789abcdef");
    assert_int_equal(prop_ledger_find_key(l, "https://b", "r/t/n", found, NULL), PROP_E_NOTFOUND);
    /* The same name again: the newer KEK counts. */
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/n", "fedcba9876543210", NULL, NULL), 0);
    assert_int_equal(prop_ledger_find_key(l, "https://a", "r/t/n", found, NULL), 0);
    assert_string_equal(found, "fedcba9876543210");
    assert_int_equal(prop_ledger_forget_key(l, "https://a", "r/t/n", NULL), 0);
    assert_int_equal(prop_ledger_find_key(l, "https://a", "r/t/n", found, NULL), PROP_E_NOTFOUND);
    /* A fingerprint that is none does not overrun the caller's 17 bytes. */
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/n", "01234567890abcdefg", NULL, NULL),
                     0);
    assert_int_equal(prop_ledger_find_key(l, "https://a", "r/t/n", found, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "ledger-damaged");
    prop_ledger_close(l);
}

static void test_file_mode(void **state)
{
    (void)state;
    mode_t old = umask(0);
    struct prop_ledger *l = open_ledger();
    (void)umask(old);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    prop_ledger_close(l);
    /* Others could have written a fingerprint or a policy into it. */
    assert_int_equal(chmod(path, 0666), 0);
    struct prop_err err = PROP_ERR_INIT;
    l = NULL;
    assert_int_equal(prop_ledger_open(path, &l, &err), PROP_E_DENIED);
    assert_string_equal(prop_err_id(&err), "ledger-mode");
    assert_null(l);
}

static void test_not_a_ledger(void **state)
{
    (void)state;
    static const char text[] = "this is a text file, long enough that SQLite looks at its head: "
                               "not a database, and it must stay as it is";
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_file_write(path, text, sizeof text, 0600, false, NULL), 0);
    struct prop_ledger *l = NULL;
    assert_int_equal(prop_ledger_open(path, &l, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "ledger-damaged");
    assert_non_null(strstr(err.hint, "--policy-doc"));
    prop_auto_buf struct prop_buf b = PROP_BUF_INIT(1000);
    assert_int_equal(prop_file_read(path, &b, NULL), 0);
    assert_string_equal(prop_buf_str(&b), text);
}

static void test_newer_schema(void **state)
{
    (void)state;
    prop_ledger_close(open_ledger());
    sql("PRAGMA user_version = 99;");
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = NULL;
    assert_int_equal(prop_ledger_open(path, &l, &err), PROP_E_UNSUPPORTED);
    assert_string_equal(prop_err_id(&err), "ledger-version");
}

static void test_missing_folder(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = NULL;
    char deep[400];
    (void)snprintf(deep, sizeof deep, "%s/none/ledger.db", dir);
    assert_int_equal(prop_ledger_open(deep, &l, &err), PROP_E_IO);
}

static void test_usual_place(void **state)
{
    (void)state;
    assert_int_equal(setenv("XDG_STATE_HOME", dir, 1), 0);
    struct prop_ledger *l = NULL;
    char name[400];
    (void)snprintf(name, sizeof name, "%s/prop", dir);
    assert_int_equal(prop_ledger_open_existing(NULL, &l, NULL), 0);
    assert_null(l);
    assert_int_equal(access(name, F_OK), -1);
    assert_int_equal(prop_ledger_open(NULL, &l, NULL), 0);
    prop_ledger_close(l);
    l = NULL;
    assert_int_equal(prop_ledger_open_existing(NULL, &l, NULL), 0);
    assert_non_null(l);
    prop_ledger_close(l);
    static const char *const files[] = { "ledger.db", "ledger.db-wal", "ledger.db-shm" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(name, sizeof name, "%s/prop/%s", dir, files[i]);
        (void)unlink(name);
    }
    (void)snprintf(name, sizeof name, "%s/prop", dir);
    assert_int_equal(rmdir(name), 0);
}

/* Two processes each read, wait and write a number under the lock: none is lost. */
static void count_up(int times)
{
    for (int i = 0; i < times; i++) {
        struct prop_ledger *l = NULL;
        char *rego = NULL, *document = NULL;
        char next[32];
        int n = 0;
        if (prop_ledger_open(path, &l, NULL) != 0 || prop_ledger_lock(l, NULL) != 0)
            _exit(1);
        if (prop_ledger_last_policy(l, "k", &rego, &document, NULL) == 0)
            n = (int)strtol(rego, NULL, 10);
        const struct timespec nap = { 0, 2000000 };
        (void)nanosleep(&nap, NULL);
        (void)snprintf(next, sizeof next, "%d", n + 1);
        if (prop_ledger_add_policy(l, "k", next, NULL, NULL) != 0)
            _exit(2);
        prop_free(rego);
        prop_free(document);
        prop_ledger_unlock(l);
        prop_ledger_close(l);
    }
}

static void test_lock_between_processes(void **state)
{
    (void)state;
    enum { workers = 3, times = 5 };
    pid_t pid[workers];
    for (int i = 0; i < workers; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0) {
            count_up(times);
            _exit(0);
        }
    }
    for (int i = 0; i < workers; i++) {
        int status = -1;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    struct prop_ledger *l = open_ledger();
    char *rego = NULL, *document = NULL;
    assert_int_equal(prop_ledger_last_policy(l, "k", &rego, &document, NULL), 0);
    assert_int_equal(strtol(rego, NULL, 10), workers * times);
    prop_free(rego);
    prop_ledger_close(l);
}

/* A publisher that is killed while it holds the lock: what it wrote stays, the lock does not. */
static void test_killed_holder(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct prop_ledger *l = NULL;
        if (prop_ledger_open(path, &l, NULL) != 0 || prop_ledger_lock(l, NULL) != 0 ||
            prop_ledger_add_policy(l, "k", "written", NULL, NULL) != 0 ||
            write(ready[1], "x", 1) != 1)
            _exit(1);
        (void)pause();
        _exit(0);
    }
    char c = 0;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)close(ready[0]);
    (void)close(ready[1]);
    struct prop_ledger *l = open_ledger();
    char *rego = NULL, *document = NULL;
    assert_int_equal(prop_ledger_lock(l, NULL), 0);
    assert_int_equal(prop_ledger_last_policy(l, "k", &rego, &document, NULL), 0);
    assert_string_equal(rego, "written");
    prop_free(rego);
    prop_ledger_unlock(l);
    prop_ledger_unlock(l); /* fine at any time */
    assert_int_equal(prop_ledger_lock(l, NULL), 0);
    assert_int_equal(prop_ledger_lock(l, NULL), PROP_E_BUG);
    prop_ledger_close(l);
    prop_ledger_close(NULL);
}

/* Every upload stays, with the hash of its text. */
static void test_policy_history(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = open_ledger();
    prop_auto_json json_t *none = NULL;
    assert_int_equal(prop_ledger_policies(l, "https://a", &none, NULL), 0);
    assert_int_equal(json_array_size(none), 0);
    assert_int_equal(prop_ledger_add_policy(l, "https://a", "abc", "doc", NULL), 0);
    assert_int_equal(prop_ledger_add_policy(l, "https://b", "elsewhere", NULL, NULL), 0);
    assert_int_equal(prop_ledger_add_policy(l, "https://a", "abc", NULL, NULL), 0);
    prop_auto_json json_t *all = NULL;
    assert_int_equal(prop_ledger_policies(l, "https://a", &all, NULL), 0);
    assert_int_equal(json_array_size(all), 2);
    const json_t *newest = json_array_get(all, 0), *oldest = json_array_get(all, 1);
    assert_true(json_integer_value(json_object_get(newest, "id")) >
                json_integer_value(json_object_get(oldest, "id")));
    assert_true(json_is_false(json_object_get(newest, "document")));
    assert_true(json_is_true(json_object_get(oldest, "document")));
    assert_int_equal(json_integer_value(json_object_get(oldest, "bytes")), 3);
    assert_true(json_integer_value(json_object_get(oldest, "time")) > 1000000000);
    /* FIPS 180-2, appendix B.1 */
    assert_string_equal(json_string_value(json_object_get(oldest, "sha256")),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char *rego = NULL, *document = NULL;
    int64_t id = json_integer_value(json_object_get(oldest, "id"));
    assert_int_equal(prop_ledger_policy(l, "https://a", id, &rego, &document, NULL), 0);
    assert_string_equal(rego, "abc");
    assert_string_equal(document, "doc");
    prop_free(rego);
    prop_free(document);
    rego = NULL;
    assert_int_equal(prop_ledger_policy(l, "https://b", id, &rego, &document, &err),
                     PROP_E_NOTFOUND); /* another server's */
    assert_string_equal(prop_err_id(&err), "policy-unknown");
    assert_null(rego);
    prop_ledger_close(l);
}

static const char *text_of(const json_t *list, size_t i, const char *name)
{
    return json_string_value(json_object_get(json_array_get(list, i), name));
}

static json_t *images_of(struct prop_ledger *l, const char *kbs, const char *key)
{
    json_t *images = NULL;
    assert_int_equal(prop_ledger_images(l, kbs, key, &images, NULL), 0);
    return images;
}

static void test_images(void **state)
{
    (void)state;
    struct prop_ledger *l = open_ledger();
    prop_auto_json json_t *none = images_of(l, "https://a", "r/t/n");
    assert_int_equal(json_array_size(none), 0);
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/n", "0123456789abcdef",
                                         "host:5000/x:1@sha256:aa", NULL), 0);
    assert_int_equal(prop_ledger_add_image(l, "https://a", "r/t/n", "user@host/x", NULL, NULL), 0);
    assert_int_equal(prop_ledger_add_image(l, "https://a", "r/t/n", "host:5000/x:1", "sha256:bb",
                                           NULL), 0);
    prop_auto_json json_t *images = images_of(l, "https://a", "r/t/n");
    assert_int_equal(json_array_size(images), 2); /* the second digest took the first one's place */
    assert_string_equal(text_of(images, 0, "image"), "host:5000/x:1");
    assert_string_equal(text_of(images, 0, "digest"), "sha256:bb");
    assert_string_equal(text_of(images, 1, "image"), "user@host/x");
    assert_null(text_of(images, 1, "digest"));
    /* The same key again: its images stay. Another one: they cannot be opened any more. */
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/n", "0123456789abcdef", NULL, NULL),
                     0);
    prop_auto_json json_t *keys = NULL;
    assert_int_equal(prop_ledger_keys(l, "https://a", &keys, NULL), 0);
    assert_int_equal(json_array_size(json_object_get(json_array_get(keys, 0), "images")), 2);
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/n", "fedcba9876543210", NULL, NULL),
                     0);
    prop_auto_json json_t *dead = images_of(l, "https://a", "r/t/n");
    assert_int_equal(json_array_size(dead), 0);
    prop_ledger_close(l);
}

static void test_key_list(void **state)
{
    (void)state;
    struct prop_ledger *l = open_ledger();
    char found[17] = "untouched";
    assert_int_equal(prop_ledger_add_key(l, "https://b", "r/t/1", "0123456789abcdef", "h/i:1", NULL),
                     0);
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/2", "", NULL, NULL), 0);
    assert_int_equal(prop_ledger_add_key(l, "https://a", "r/t/1", "fedcba9876543210", NULL, NULL),
                     0);
    /* What is no KEK is known all the same. */
    assert_int_equal(prop_ledger_find_key(l, "https://a", "r/t/2", found, NULL), 0);
    assert_string_equal(found, "");
    prop_auto_json json_t *all = NULL;
    assert_int_equal(prop_ledger_keys(l, NULL, &all, NULL), 0);
    assert_int_equal(json_array_size(all), 3);
    assert_string_equal(text_of(all, 0, "path"), "r/t/1");
    assert_string_equal(text_of(all, 0, "kbs"), "https://a");
    assert_string_equal(text_of(all, 1, "kbs"), "https://b");
    assert_string_equal(text_of(all, 2, "path"), "r/t/2");
    assert_null(text_of(all, 2, "fingerprint"));
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(json_array_get(all, 1), "images"), 0)),
        "h/i:1");
    prop_auto_json json_t *one = NULL;
    assert_int_equal(prop_ledger_forget_key(l, "https://a", "r/t/1", NULL), 0);
    assert_int_equal(prop_ledger_keys(l, "https://a", &one, NULL), 0);
    assert_int_equal(json_array_size(one), 1);
    prop_ledger_close(l);
}

/* A name that is published again under another key is not the old one's image any more; a recipient
 * that is added beside it leaves both. */
static void test_image_moves(void **state)
{
    (void)state;
    struct prop_ledger *l = open_ledger();
    assert_int_equal(prop_ledger_add_key(l, "k", "r/t/1", "0123456789abcdef", "h/i:1@sha256:aa",
                                         NULL), 0);
    assert_int_equal(prop_ledger_add_key(l, "k", "r/t/2", "fedcba9876543210", "h/i:1@sha256:bb",
                                         NULL), 0);
    prop_auto_json json_t *old = images_of(l, "k", "r/t/1");
    assert_int_equal(json_array_size(old), 0);
    assert_int_equal(prop_ledger_add_image(l, "k", "r/t/1", "h/i:1", NULL, NULL), 0);
    prop_auto_json json_t *both = images_of(l, "k", "r/t/2");
    assert_int_equal(json_array_size(both), 1);
    prop_ledger_close(l);
}

static void test_rotations(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *l = open_ledger();
    char *to = NULL, found[17] = "untouched";
    assert_int_equal(prop_ledger_find_rotation(l, "k", "r/t/1", &to, found, &err), PROP_E_NOTFOUND);
    assert_string_equal(prop_err_id(&err), "no-rotation");
    assert_null(to);
    assert_string_equal(found, "untouched");
    assert_int_equal(prop_ledger_begin_rotation(l, "k", "r/t/1", "r/t/2", "0123456789abcdef", NULL),
                     0);
    assert_int_equal(prop_ledger_find_rotation(l, "k", "r/t/1", &to, found, NULL), 0);
    assert_string_equal(to, "r/t/2");
    assert_string_equal(found, "0123456789abcdef");
    prop_free(to);
    to = NULL;
    assert_int_equal(prop_ledger_find_rotation(l, "other", "r/t/1", &to, found, NULL),
                     PROP_E_NOTFOUND);
    assert_int_equal(prop_ledger_end_rotation(l, "k", "r/t/1", NULL), 0);
    assert_int_equal(prop_ledger_find_rotation(l, "k", "r/t/1", &to, found, NULL), PROP_E_NOTFOUND);
    prop_ledger_close(l);
}

/* The tables of version 1, word for word. */
static const char version_1[] =
    "CREATE TABLE IF NOT EXISTS policy ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT, kbs TEXT NOT NULL, time INTEGER NOT NULL,"
    " rego TEXT NOT NULL, document TEXT);"
    "CREATE INDEX IF NOT EXISTS policy_kbs ON policy (kbs, id);"
    "CREATE TABLE IF NOT EXISTS key ("
    " kbs TEXT NOT NULL, path TEXT NOT NULL, fingerprint TEXT NOT NULL, image TEXT,"
    " time INTEGER NOT NULL, PRIMARY KEY (kbs, path));"
    "PRAGMA user_version = 1;";

static void check_renewed(void)
{
    struct prop_ledger *l = open_ledger();
    char *rego = NULL, *document = NULL, found[17];
    assert_int_equal(prop_ledger_last_policy(l, "https://a", &rego, &document, NULL), 0);
    assert_string_equal(rego, "new");
    assert_string_equal(document, "doc");
    prop_free(rego);
    prop_free(document);
    prop_auto_json json_t *all = NULL;
    assert_int_equal(prop_ledger_policies(l, "https://a", &all, NULL), 0);
    assert_int_equal(json_array_size(all), 2);
    assert_string_equal(text_of(all, 1, "sha256"),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(all, 1), "time")),
                     1700000001);
    assert_int_equal(prop_ledger_find_key(l, "https://a", "r/t/o", found, NULL), 0);
    assert_string_equal(found, "fedcba9876543210");
    prop_auto_json json_t *images = images_of(l, "https://a", "r/t/n");
    assert_int_equal(json_array_size(images), 1);
    assert_string_equal(text_of(images, 0, "image"), "h/i:1");
    assert_string_equal(text_of(images, 0, "digest"), "sha256:aa");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(images, 0), "time")),
                     1700000003);
    prop_ledger_close(l);
}

static void test_version_1(void **state)
{
    (void)state;
    sql(version_1);
    sql("INSERT INTO policy (kbs, time, rego, document) VALUES"
        " ('https://a', 1700000001, 'abc', NULL), ('https://a', 1700000002, 'new', 'doc');"
        "INSERT INTO key VALUES"
        " ('https://a', 'r/t/n', '0123456789abcdef', 'h/i:1@sha256:aa', 1700000003),"
        " ('https://a', 'r/t/o', 'fedcba9876543210', NULL, 1700000004);");
    check_renewed();
    check_renewed(); /* once renewed it stays so */
}

/* Several tools of the new version meet an old ledger at once. */
static void test_version_1_at_once(void **state)
{
    (void)state;
    sql(version_1);
    sql("INSERT INTO key VALUES ('k', 'r/t/n', '0123456789abcdef', NULL, 1700000003);");
    pid_t pid[3];
    for (size_t i = 0; i < PROP_ARRAY_LEN(pid); i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0) {
            prop_auto_ledger struct prop_ledger *l = NULL;
            char found[17];
            _exit(prop_ledger_open(path, &l, NULL) == 0 &&
                          prop_ledger_find_key(l, "k", "r/t/n", found, NULL) == 0
                      ? 0 : 1);
        }
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(pid); i++) {
        int status = -1;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
}

/* Something of version 1's name that is not it: taken back, and said. */
static void test_version_1_damaged(void **state)
{
    (void)state;
    sql(version_1);
    sql("DROP TABLE key; CREATE TABLE key (kbs TEXT, path TEXT);");
    for (int i = 0; i < 2; i++) { /* the second time as the first: nothing stays renamed */
        struct prop_err err = PROP_ERR_INIT;
        struct prop_ledger *l = NULL;
        assert_int_equal(prop_ledger_open(path, &l, &err), PROP_E_IO);
        assert_string_equal(prop_err_id(&err), "ledger");
        assert_non_null(strstr(err.message, "no such column"));
        assert_null(l);
    }
}

/* Killed between two notes, a hundred of them: each that was given back is there. */
static void test_killed_writer(void **state)
{
    (void)state;
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (unsigned char i = 1;; i++) {
            struct prop_ledger *l = NULL;
            char name[32];
            (void)snprintf(name, sizeof name, "r/t/%u", (unsigned)i);
            if (prop_ledger_open(path, &l, NULL) != 0 ||
                prop_ledger_add_key(l, "k", name, "0123456789abcdef", "h/i:1", NULL) != 0 ||
                write(told[1], &i, 1) != 1)
                _exit(1);
            prop_ledger_close(l);
        }
    }
    unsigned char last = 0;
    while (last < 100)
        assert_int_equal(read(told[0], &last, 1), 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    (void)close(told[1]);
    while (read(told[0], &last, 1) == 1)
        ;
    (void)close(told[0]);
    struct prop_ledger *l = open_ledger();
    for (unsigned i = 1; i <= last; i++) {
        char name[32], found[17];
        (void)snprintf(name, sizeof name, "r/t/%u", i);
        assert_int_equal(prop_ledger_find_key(l, "k", name, found, NULL), 0);
    }
    prop_ledger_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_policies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_policy_history, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_images, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_key_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_image_moves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rotations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_version_1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_version_1_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_version_1_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_mode, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_a_ledger, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_newer_schema, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_usual_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lock_between_processes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_holder, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("store ledger", tests, NULL, NULL);
}
