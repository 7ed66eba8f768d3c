/* The journal: what is noted is there after a crash, targets are held by one, old runs go. */
#include "store/journal.h"

#include "util/file.h"
#include "util/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[96];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/prop-journal-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/journal.db", dir);
    return 0;
}

static int remove_dir(void **state)
{
    static const char *const names[] = { "", "-wal", "-shm", ".lock", "-journal" };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        char one[128];
        (void)snprintf(one, sizeof one, "%s%s", path, names[i]);
        (void)unlink(one);
    }
    (void)rmdir(dir);
    return 0;
}

static struct prop_journal *must_open(void)
{
    struct prop_journal *j = NULL;
    struct prop_err err = PROP_ERR_INIT;
    if (prop_journal_open(path, &j, &err) != 0)
        fail_msg("%s", err.message);
    return j;
}

static int64_t begin(struct prop_journal *j, const char *target)
{
    int64_t run = 0;
    prop_auto_json json_t *plan = json_pack("{s:s}", "kid", "r/t/n");
    prop_auto_json json_t *detail = json_pack("{s:s}", "fingerprint", "0123456789abcdef");
    const struct prop_journal_note note = { "kek", false, detail };
    assert_int_equal(prop_journal_begin(j, target, plan, &note, 1, &run, NULL), 0);
    assert_true(run > 0);
    return run;
}

static void test_notes_outlive_the_process(void **state)
{
    (void)state;
    struct prop_journal *j = must_open();
    int64_t run = begin(j, "docker://host/a:1");
    const struct prop_journal_note notes[] = { { "kek", true, NULL }, { "image", false, NULL } };
    assert_int_equal(prop_journal_note(j, run, notes, 2, NULL), 0);
    prop_journal_close(j);

    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    j = must_open();
    prop_auto_json json_t *found = NULL;
    prop_auto_json json_t *entries = NULL;
    assert_int_equal(prop_journal_find(j, NULL, &found, NULL), 0);
    assert_int_equal(json_integer_value(json_object_get(found, "run")), run);
    assert_int_equal(json_integer_value(json_object_get(found, "pid")), getpid());
    assert_true(json_integer_value(json_object_get(found, "pid_start")) > 0);
    assert_int_equal(json_integer_value(json_object_get(found, "entries")), 3);
    assert_string_equal(json_string_value(json_object_get(found, "last")), "image");
    assert_true(json_is_false(json_object_get(found, "running")));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(found, "plan"), "kid")), "r/t/n");
    assert_int_equal(prop_journal_entries(j, run, &entries, NULL), 0);
    assert_int_equal(json_array_size(entries), 3);
    const json_t *first = json_array_get(entries, 0);
    assert_string_equal(json_string_value(json_object_get(first, "phase")), "begin");
    assert_string_equal(json_string_value(json_object_get(json_object_get(first, "detail"),
                                                          "fingerprint")),
                        "0123456789abcdef");
    assert_string_equal(json_string_value(json_object_get(json_array_get(entries, 1), "phase")),
                        "done");
    prop_journal_close(j);
}

static void test_finding_runs(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_journal struct prop_journal *j = must_open();
    prop_auto_json json_t *one = NULL;
    prop_auto_json json_t *two = NULL;
    json_t *none = NULL;
    assert_int_equal(prop_journal_find(j, NULL, &none, &err), PROP_E_NOTFOUND);
    assert_string_equal(prop_err_id(&err), "no-such-run");
    assert_int_equal(prop_journal_find(NULL, "7", &none, &err), PROP_E_NOTFOUND);
    int64_t a = begin(j, "docker://host/a:1");
    int64_t b = begin(j, "oci:/tmp/x:1");
    assert_int_equal(prop_journal_find(j, NULL, &none, &err), PROP_E_USAGE);
    assert_string_equal(prop_err_id(&err), "which-run");
    char number[24];
    (void)snprintf(number, sizeof number, "%lld", (long long)a);
    assert_int_equal(prop_journal_find(j, number, &one, NULL), 0);
    assert_string_equal(json_string_value(json_object_get(one, "target")), "docker://host/a:1");
    assert_int_equal(prop_journal_find(j, "oci:/tmp/x:1", &two, NULL), 0);
    assert_int_equal(json_integer_value(json_object_get(two, "run")), b);
    assert_int_equal(prop_journal_end(j, a, PROP_JOURNAL_ABORTED, NULL, 0, NULL), 0);
    assert_int_equal(prop_journal_find(j, number, &none, &err), PROP_E_NOTFOUND);
    assert_null(none);
}

static void test_going_on(void **state)
{
    (void)state;
    prop_auto_journal struct prop_journal *j = must_open();
    prop_auto_json json_t *plan = json_pack("{s:s}", "kid", "r/t/other");
    prop_auto_json json_t *run = NULL;
    int64_t a = begin(j, "docker://host/a:1");
    assert_int_equal(prop_journal_go_on(j, a, NULL, NULL), 0);
    assert_int_equal(prop_journal_go_on(j, a, plan, NULL), 0);
    assert_int_equal(prop_journal_find(j, NULL, &run, NULL), 0);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(run, "plan"), "kid")), "r/t/other");
}

/* Another process holds the target; it goes with it, however it ends. */
static void test_one_publisher_per_target(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_journal struct prop_journal *j = must_open();
    int64_t run = begin(j, "docker://host/a:1");
    int ready[2];
    char c = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct prop_journal *mine = NULL;
        if (prop_journal_open(path, &mine, NULL) != 0 ||
            prop_journal_lock(mine, "docker://host/a:1", 0, NULL) != 0)
            _exit(1);
        (void)!write(ready[1], "x", 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    prop_auto_json json_t *held = NULL;
    prop_auto_json json_t *freed = NULL;
    assert_int_equal(prop_journal_find(j, NULL, &held, NULL), 0);
    assert_true(json_is_true(json_object_get(held, "running")));
    assert_int_equal(prop_journal_lock(j, "docker://host/a:1", 0, &err), PROP_E_EXISTS);
    assert_string_equal(prop_err_id(&err), "publish-running");
    assert_int_equal(prop_journal_lock(j, "docker://host/b:1", 0, NULL), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(prop_journal_lock(j, "docker://host/a:1", 5000, NULL), 0);
    assert_int_equal(prop_journal_find(j, NULL, &freed, NULL), 0);
    assert_int_equal(json_integer_value(json_object_get(freed, "run")), run);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void test_old_runs_go(void **state)
{
    (void)state;
    prop_auto_journal struct prop_journal *j = must_open();
    prop_auto_json json_t *all = NULL;
    prop_auto_json json_t *gone = NULL;
    int64_t stays = begin(j, "docker://host/open:1");
    int64_t first = 0;
    for (int i = 0; i < 105; i++) {
        int64_t run = begin(j, "docker://host/a:1");
        first = first == 0 ? run : first;
        assert_int_equal(prop_journal_end(j, run, PROP_JOURNAL_DONE, NULL, 0, NULL), 0);
    }
    (void)begin(j, "docker://host/b:1"); /* here the old ones are dropped */
    assert_int_equal(prop_journal_runs(j, false, &all, NULL), 0);
    assert_int_equal(json_array_size(all), 102);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(all, 101), "run")), stays);
    assert_int_equal(prop_journal_entries(j, first, &gone, NULL), 0);
    assert_int_equal(json_array_size(gone), 0);
}

static void test_bad_files(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_journal *j = NULL;
    assert_int_equal(prop_journal_open_existing(path, &j, &err), 0);
    assert_null(j);
    assert_int_equal(prop_file_write(path, "no database, not at all, but text", 33, 0600, true, NULL),
                     0);
    assert_int_equal(prop_journal_open(path, &j, &err), PROP_E_INPUT);
    assert_string_equal(prop_err_id(&err), "journal-damaged");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(prop_file_write(path, "", 0, 0600, true, NULL), 0);
    assert_int_equal(chmod(path, 0622), 0);
    assert_int_equal(prop_journal_open(path, &j, &err), PROP_E_DENIED);
    assert_string_equal(prop_err_id(&err), "journal-mode");
    assert_null(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notes_outlive_the_process, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_finding_runs, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_going_on, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_one_publisher_per_target, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_old_runs_go, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_bad_files, make_dir, remove_dir),
    };
    return cmocka_run_group_tests_name("store journal", tests, NULL, NULL);
}
