/* The ledger: what is remembered, across processes and crashes, and what is refused. */
#include "store/ledger.h"

#include "util/file.h"

#include <setjmp.h>
#include <signal.h>
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
    static const char *const names[] = { "ledger.db", "ledger.db.lock", "ledger.db-journal" };
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
    /* user_version stands at byte 60 of the header, big-endian (SQLite file format 1.3). */
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 63, SEEK_SET), 0);
    assert_int_equal(fputc(99, f), 99);
    assert_int_equal(fclose(f), 0);
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
    (void)snprintf(name, sizeof name, "%s/prop/ledger.db", dir);
    assert_int_equal(unlink(name), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_policies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
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
