/* Task manifests and the module's memory, below the command line. */
#include "guest/memory.h"
#include "guest/run.h"
#include "util/limits.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TASK(members) "{\"name\":\"a\",\"image_url\":\"r/a\"," members

static int parse(const char *text, struct prop_task *t, struct prop_err *err)
{
    return prop_task_parse(text, strlen(text), "task.json", t, err);
}

static void test_full_task(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_task struct prop_task t = {.json = NULL};

    assert_int_equal(
        parse("{\"id\":\"4ff9\",\"name\":\"add\",\"state\":0,"
              "\"image_url\":\"r.example.com/a:encrypted\",\"inputs\":[\"10\",20,2.5,-1],"
              "\"cli_args\":[\"--invoke=add\",\"-W\",\"fuel=7,timeout=2s\",\"--max-memory\",\"1M\"],"
              "\"env\":{\"A\":\"1\",\"B\":\"\"},\"encrypted\":true,"
              "\"kbs_resource_path\":\"default/key/a\",\"broadcast\":false}",
              &t, &err),
        0);
    assert_string_equal(t.id, "4ff9");
    assert_string_equal(t.name, "add");
    assert_string_equal(t.image_url, "r.example.com/a:encrypted");
    assert_string_equal(t.kbs_resource_path, "default/key/a");
    assert_string_equal(t.invoke, "add");
    assert_true(t.encrypted);
    assert_int_equal(t.n_args, 4);
    assert_string_equal(t.args[0], "10");
    assert_string_equal(t.args[1], "20");
    assert_string_equal(t.args[2], "2.5");
    assert_string_equal(t.args[3], "-1");
    assert_int_equal(t.n_env, 2);
    assert_string_equal(t.env[0], "A=1");
    assert_string_equal(t.env[1], "B=");
    assert_int_equal(t.limits.fuel, 7);
    assert_int_equal(t.limits.timeout_ms, 2000);
    assert_int_equal(t.limits.max_memory, 1 << 20);
}

static void test_small_task(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_task struct prop_task t = {.json = NULL};

    assert_int_equal(parse(TASK("\"kbs_resource_path\":\"\","
                                "\"cli_args\":null}"),
                           &t, &err),
                     0);
    assert_false(t.encrypted);
    assert_null(t.id);
    assert_null(t.invoke);
    assert_null(t.kbs_resource_path);
    assert_int_equal(t.n_args, 0);
    assert_int_equal(t.limits.fuel, 0);
}

static void test_refusals_leave_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *id;
    } cases[] = {
        {TASK("\"cli_args\":[\"--dir=/\"]}"), PROP_E_DENIED, "cli-arg-refused"},
        {TASK("\"cli_args\":[\"-Wfuel=1,x=2\"]}"), PROP_E_DENIED, "cli-arg-refused"},
        {TASK("\"cli_args\":[\"--fuel\",\"-1\"]}"), PROP_E_INPUT, NULL},
        {TASK("\"cli_args\":[\"--timeout\"]}"), PROP_E_INPUT, NULL},
        {TASK("\"inputs\":[null]}"), PROP_E_INPUT, "bad-task"},
        {TASK("\"env\":{\"A=B\":\"1\"}}"), PROP_E_INPUT, "bad-task"},
        {"{\"name\":\"a\",\"file\":\"AAA?\"}", PROP_E_INPUT, NULL},
        {"{\"name\":\"a\"}", PROP_E_INPUT, "bad-task"},
        {"{\"name\":\"a\\u0000b\",\"image_url\":\"r/a\"}", PROP_E_INPUT, NULL},
    };

    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_task t = {.name = "untouched"};
        int rc = parse(cases[i].text, &t, &err);
        if (rc != cases[i].code)
            print_error("%s: %d %s\n", cases[i].text, rc, err.message);
        assert_int_equal(rc, cases[i].code);
        if (cases[i].id)
            assert_string_equal(prop_err_id(&err), cases[i].id);
        assert_string_equal(t.name, "untouched");
        assert_null(t.json);
    }
}

static void test_memory(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_guest_memory struct prop_guest_memory m = PROP_GUEST_MEMORY_INIT;

    assert_int_equal(prop_guest_memory_init(&m, 10, &err), 0);
    assert_int_equal(prop_guest_memory_append(&m, "0123456", 7, &err), 0);
    assert_int_equal(prop_guest_memory_append(&m, "789A", 4, &err), PROP_E_LIMIT);
    assert_int_equal(m.len, 7);
    assert_int_equal(prop_guest_memory_append(&m, "789", 3, &err), 0);
    assert_memory_equal(m.data, "0123456789", 10);
    assert_int_equal(prop_guest_memory_seal(&m, &err), 0);
    prop_guest_memory_release(&m);
    assert_null(m.map);
    prop_guest_memory_release(&m);
}

static void test_memory_sizes(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_guest_memory m = PROP_GUEST_MEMORY_INIT;

    assert_int_equal(prop_guest_memory_init(&m, 0, &err), 0);
    assert_int_equal(prop_guest_memory_append(&m, "", 0, &err), 0);
    assert_int_equal(prop_guest_memory_append(&m, "x", 1, &err), PROP_E_LIMIT);
    prop_guest_memory_release(&m);
    assert_int_equal(prop_guest_memory_init(&m, (uint64_t)PROP_LIMIT_WASM_MODULE + 1, &err),
                     PROP_E_LIMIT);
    assert_string_equal(err.id, "module-size");
    assert_null(m.map);
}

/* Status of a child that touches one byte; its memory is not there after a fork. */
static int child_status(void (*touch)(struct prop_guest_memory *m), struct prop_guest_memory *m)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL);
        touch(m);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void read_parents(struct prop_guest_memory *m)
{
    volatile uint8_t *p = m->data;
    (void)*p;
}

static void write_sealed(struct prop_guest_memory *unused)
{
    (void)unused;
    struct prop_guest_memory m = PROP_GUEST_MEMORY_INIT;
    if (prop_guest_memory_init(&m, 4096, NULL) || prop_guest_memory_append(&m, "x", 1, NULL) ||
        prop_guest_memory_seal(&m, NULL))
        _exit(1);
    *(volatile uint8_t *)m.data = 'y';
}

static void write_past_end(struct prop_guest_memory *unused)
{
    (void)unused;
    struct prop_guest_memory m = PROP_GUEST_MEMORY_INIT;
    if (prop_guest_memory_init(&m, 4096, NULL))
        _exit(1);
    ((volatile uint8_t *)m.data)[(size_t)sysconf(_SC_PAGESIZE)] = 1;
}

static void test_memory_is_guarded(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_guest_memory struct prop_guest_memory m = PROP_GUEST_MEMORY_INIT;

    assert_int_equal(prop_guest_memory_init(&m, 100, &err), 0);
    int status = child_status(read_parents, &m);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = child_status(write_sealed, &m);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = child_status(write_past_end, &m);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_task),     cmocka_unit_test(test_small_task),
        cmocka_unit_test(test_refusals_leave_nothing), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_sizes),  cmocka_unit_test(test_memory_is_guarded),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("guest: task and memory", tests, NULL, NULL);
}
