/* Waiting for a lock: who holds it, how long, and when that is told. */
#include "store/ledger.h"
#include "store/lock_wait.h"
#include "util/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[300];

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(path, sizeof path, "%s/lock-XXXXXX", tmp != NULL ? tmp : "/tmp");
    int fd = mkstemp(path);
    return fd >= 0 && close(fd) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    char name[320];
    (void)state;
    static const char *const tails[] = { "", "-wal", "-shm", ".lock" };
    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "%s%s", path, tails[i]);
        (void)unlink(name);
    }
    return unsetenv("PROP_LOCK_TIMEOUT");
}

static void test_limit(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("PROP_LOCK_TIMEOUT"), 0);
    assert_int_equal(prop_lock_wait_ms(77), 77);
    static const struct {
        const char *text;
        uint64_t ms;
    } all[] = { { "0", 0 }, { "3", 3000 }, { "86400", 86400000 }, { "86401", 77 },
                { "-1", 77 }, { "", 77 }, { "soon", 77 } };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(setenv("PROP_LOCK_TIMEOUT", all[i].text, 1), 0);
        assert_int_equal(prop_lock_wait_ms(77), all[i].ms);
    }
}

/* What stands in the lock's file is another process's word: made printable, and whole or nothing. */
static void test_holder(void **state)
{
    (void)state;
    char out[80], want[80];
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_string_equal(prop_lock_holder(fileno(f), out), "");
    prop_lock_sign(fileno(f));
    (void)snprintf(want, sizeof want, "process %ld (test_store_lock_wait)", (long)getpid());
    assert_string_equal(prop_lock_holder(fileno(f), out), want);
    static const char half[] = "process 1 (x", escape[] = "process \033[2J1\n", nul[] = "a\0b\n";
    assert_int_equal(ftruncate(fileno(f), 0), 0);
    assert_int_equal(pwrite(fileno(f), half, sizeof half - 1, 0), sizeof half - 1);
    assert_string_equal(prop_lock_holder(fileno(f), out), "");
    assert_int_equal(pwrite(fileno(f), escape, sizeof escape - 1, 0), sizeof escape - 1);
    assert_null(strchr(prop_lock_holder(fileno(f), out), '\033'));
    assert_true(strlen(out) > 0);
    assert_int_equal(ftruncate(fileno(f), 0), 0);
    assert_int_equal(pwrite(fileno(f), nul, sizeof nul - 1, 0), sizeof nul - 1);
    assert_string_equal(prop_lock_holder(fileno(f), out), "");
    (void)fclose(f);
    assert_string_equal(prop_lock_holder(-1, out), "");
}

static void count(void *ctx, const char *holder)
{
    (void)holder;
    ++*(int *)ctx;
}

/* Told once, and only when two seconds are over. */
static void test_telling(void **state)
{
    (void)state;
    struct prop_lock_wait w;
    int told = 0;
    assert_int_equal(setenv("PROP_LOCK_TIMEOUT", "3600", 1), 0);
    prop_lock_wait_begin(&w, 1, count, &told);
    assert_int_equal(w.limit_ms, 3600000);
    assert_int_equal(prop_lock_wait_more(&w, -1), 1);
    assert_int_equal(told, 0);
    w.begun_ms -= 2000; /* as if it had waited */
    assert_int_equal(prop_lock_wait_more(&w, -1), 1);
    assert_int_equal(prop_lock_wait_more(&w, -1), 1);
    assert_int_equal(told, 1);
    w.begun_ms -= 3600000;
    assert_int_equal(prop_lock_wait_more(&w, -1), 0);
    prop_lock_wait_begin(&w, 0, NULL, NULL);
    w.limit_ms = 0;
    assert_int_equal(prop_lock_wait_more(&w, -1), 0);
}

static void test_ledger(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ledger *one = NULL, *two = NULL;
    char want[40];
    assert_int_equal(prop_ledger_open(path, &one, NULL), 0);
    assert_int_equal(prop_ledger_open(path, &two, NULL), 0);
    assert_int_equal(prop_ledger_lock(one, NULL), 0);
    assert_int_equal(setenv("PROP_LOCK_TIMEOUT", "0", 1), 0);
    assert_int_equal(prop_ledger_lock(two, &err), PROP_E_IO);
    assert_string_equal(prop_err_id(&err), "ledger-busy");
    (void)snprintf(want, sizeof want, "held by process %ld", (long)getpid());
    assert_non_null(strstr(err.message, want));
    assert_int_equal(setenv("PROP_LOCK_TIMEOUT", "3600", 1), 0);
    prop_err_clear(&err);
    assert_int_equal(prop_ledger_lock_for(two, 1, &err), PROP_E_IO);
    prop_ledger_unlock(one);
    assert_int_equal(prop_ledger_lock_for(two, 0, NULL), 0);
    assert_int_equal(prop_ledger_lock_for(two, 0, NULL), PROP_E_BUG);
    prop_ledger_on_wait(NULL, count, NULL);
    prop_ledger_close(one);
    prop_ledger_close(two);
}

static void test_rotations(void **state)
{
    (void)state;
    struct prop_ledger *l = NULL;
    prop_auto_json json_t *rows = NULL;
    assert_int_equal(prop_ledger_open(path, &l, NULL), 0);
    assert_int_equal(prop_ledger_rotations(l, &rows, NULL), 0);
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
    assert_int_equal(prop_ledger_begin_rotation(l, "k", "a/b/c", "a/b/d", "0123456789abcdef", NULL), 0);
    assert_int_equal(prop_ledger_rotations(l, &rows, NULL), 0);
    assert_int_equal(json_array_size(rows), 1);
    const json_t *row = json_array_get(rows, 0);
    assert_string_equal(json_string_value(json_object_get(row, "new_path")), "a/b/d");
    assert_string_equal(json_string_value(json_object_get(row, "fingerprint")), "0123456789abcdef");
    prop_ledger_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_limit), cmocka_unit_test(test_holder),
                                        cmocka_unit_test(test_telling), cmocka_unit_test(test_ledger),
                                        cmocka_unit_test(test_rotations) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
