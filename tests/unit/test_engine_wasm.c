/* Running core modules: values in and out, WASI, every limit, every refusal. */
#include "tests/unit/test_engine.h"

static void test_numbers(void **state)
{
    (void)state;
    gives("add.wasm", "add", ARGS("10", "20"), "30\n");
    gives("add.wat", "add", ARGS("10", "20"), "30\n");
    gives("add.wasm", "add", ARGS("2147483647", "1"), "-2147483648\n");
    gives("add.wasm", "add", ARGS("4294967295", "0x10"), "15\n");
    gives("add.wasm", "add", ARGS("-5", "+2"), "-3\n");
    gives("add.wasm", "add64", ARGS("9223372036854775807", "-1"), "9223372036854775806\n");
    gives("add.wasm", "mean", ARGS("1", "2"), "1.5\n");
    gives("add.wasm", "mean", ARGS("1e300", "1e300"), "1000000000000000000000000000000"
          "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
          "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
          "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
          "000000\n");
    gives("add.wasm", "mean", ARGS("nan", "0"), "NaN\n");
    gives("add.wasm", "half", ARGS("0.2"), "0.1\n");
    gives("add.wasm", "divmod", ARGS("-7", "2"), "-3\n-1\n");
}

/* Modules of current C++ toolchains throw; one that nobody catches is a trap like any other. */
static void test_exceptions(void **state)
{
    (void)state;
    gives("(module (tag $e (param i32)) (func (export \"f\") (result i32)"
          " (block $h (result i32) (try_table (result i32) (catch $e $h)"
          " (throw $e (i32.const 42))))))",
          "f", NULL, 0, "42\n");
    fails("(module (tag $e) (func (export \"f\") (throw $e)))", "f", NULL, 0, PROP_E_TRAP, "trap");
}

static void test_bad_arguments(void **state)
{
    (void)state;
    static const char *const bad[] = {"",  "x",   "1.5", "4294967296", "-2147483649",
                                      "0x", "0xg", "1 ",  " 1",         "--1"};

    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++)
        fails("add.wasm", "add", ARGS("1", bad[i]), PROP_E_INPUT, "bad-argument");
    fails("add.wasm", "add", ARGS("1"), PROP_E_INPUT, "bad-argument");
    fails("add.wasm", "add", ARGS("1", "2", "3"), PROP_E_INPUT, "bad-argument");
    fails("add.wasm", "mean", ARGS("1", "1,5"), PROP_E_INPUT, "bad-argument");
    fails("add.wasm", "add64", ARGS("1", "18446744073709551616"), PROP_E_INPUT, "bad-argument");
}

static void test_no_export(void **state)
{
    (void)state;
    auto_outcome struct outcome o = {0};

    run_module("add.wasm", "sub", NULL, 0, &o);
    assert_int_equal(o.rc, PROP_E_NOTFOUND);
    assert_string_equal(o.err.id, "no-export");
    assert_string_equal(o.err.hint, "it exports: add, add64, mean, half, divmod");
    fails("add.wasm", NULL, NULL, 0, PROP_E_NOTFOUND, "no-export");
    fails("grow.wasm", "memory", NULL, 0, PROP_E_NOTFOUND, "no-export");
    fails("greet.wat", "nope", NULL, 0, PROP_E_NOTFOUND, "no-export");
    fails("greet.wat", NULL, NULL, 0, PROP_E_NOTFOUND, "no-export");
}

static void test_not_wasm(void **state)
{
    (void)state;
    static const uint8_t junk[] = "MZ junk junk";
    static const uint8_t cut[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 1};
    static const struct {
        const uint8_t *data;
        size_t len;
        const char *id;
    } cases[] = {{junk, sizeof junk, "not-wasm"},       {junk, 0, "not-wasm"},
                 {cut, 7, "not-wasm"},                  {cut, sizeof cut, "wasm-invalid"},
                 {(const uint8_t *)"(module", 7, "wasm-invalid"}};

    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        auto_outcome struct outcome o = {0};
        struct prop_wasm_run how = {
            .module = cases[i].data, .module_len = cases[i].len, .name = "m"};
        run(&how, &o);
        assert_int_equal(o.rc, PROP_E_INPUT);
        assert_string_equal(o.err.id, cases[i].id);
        assert_null(strchr(o.err.message, '\n'));
    }
}

static void test_traps(void **state)
{
    (void)state;
    auto_outcome struct outcome o = {0};

    run_module("trap.wasm", "divide", ARGS("1", "0"), &o);
    assert_int_equal(o.rc, PROP_E_TRAP);
    assert_string_equal(o.err.id, "trap");
    assert_string_equal(o.err.message, "'m' trapped: integer divide by zero");
    gives("trap.wasm", "divide", ARGS("6", "3"), "2\n");
    fails("trap.wasm", NULL, NULL, 0, PROP_E_TRAP, "trap");
    fails("trap.wasm", "peek", ARGS("65535"), PROP_E_TRAP, "trap");
    fails("(module (func $f (export \"f\") call $f))", "f", NULL, 0, PROP_E_TRAP, "trap");
    fails("(module (func $s unreachable) (start $s) (func (export \"f\")))", "f", NULL, 0,
          PROP_E_TRAP, "trap");
}

static void run_limited(const char *module, const char *invoke, const char *arg,
                        struct prop_wasm_limits limits, struct outcome *o)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);
    const char *args[] = {arg};
    struct prop_wasm_run how = {.name = "m", .invoke = invoke, .args = args, .n_args = arg ? 1 : 0};
    struct prop_err err = PROP_ERR_INIT;

    if (*module == '(')
        assert_int_equal(prop_buf_puts(&bytes, module, &err), 0);
    else
        load(module, &bytes);
    how.module = bytes.data;
    how.module_len = bytes.len;
    how.limits = limits;
    run(&how, o);
}

static void test_deadline(void **state)
{
    (void)state;
    auto_outcome struct outcome o = {0};

    run_limited("loop.wasm", NULL, NULL, (struct prop_wasm_limits){.timeout_ms = 30}, &o);
    assert_int_equal(o.rc, PROP_E_TIMEOUT);
    assert_string_equal(o.err.id, "deadline");
}

/* A guest that waits in a call to us runs none of its own instructions: it is left behind. */
static void test_deadline_while_sleeping(void **state)
{
    (void)state;
    static const char sleeper[] =
        "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\""
        " (func $poll (param i32 i32 i32 i32) (result i32))) (memory (export \"memory\") 1)"
        " (data (i32.const 16) \"\\01\")" /* clock id 1: monotonic */
        " (func (export \"_start\")"
        " (i64.store (i32.const 24) (i64.const 3000000000))" /* 3 s */
        " (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))";
    auto_outcome struct outcome o = {0};
    uint64_t start = prop_now_ms();

    run_limited(sleeper, NULL, NULL, (struct prop_wasm_limits){.timeout_ms = 30}, &o);
    assert_int_equal(o.rc, PROP_E_TIMEOUT);
    assert_string_equal(o.err.id, "deadline");
    assert_true(prop_now_ms() - start < 2900);
}

static void test_fuel(void **state)
{
    (void)state;
    auto_outcome struct outcome o = {0};

    run_limited("loop.wasm", NULL, NULL, (struct prop_wasm_limits){.fuel = 100000}, &o);
    assert_int_equal(o.rc, PROP_E_LIMIT);
    assert_string_equal(o.err.id, "fuel");
}

static void test_memory(void **state)
{
    (void)state;
    const struct prop_wasm_limits cap = {.max_memory = 1u << 20};

    auto_outcome struct outcome fits = {0};
    run_limited("grow.wasm", "grow", "15", cap, &fits);
    assert_int_equal(fits.rc, 0);
    assert_string_equal(prop_buf_str(&fits.result.out), "1\n");
    auto_outcome struct outcome over = {0};
    run_limited("grow.wasm", "grow", "16", cap, &over);
#ifdef PROP_WASMTIME_PREFIX /* Wasmtime's own C API cannot be told to end the guest there */
    assert_string_equal(prop_buf_str(&over.result.out), "-1\n");
#else
    assert_int_equal(over.rc, PROP_E_LIMIT);
    assert_string_equal(over.err.id, "memory");
#endif
    auto_outcome struct outcome at_start = {0};
    run_limited("(module (memory 17) (func (export \"f\")))", "f", NULL, cap, &at_start);
    assert_int_equal(at_start.rc, PROP_E_LIMIT);
    assert_string_equal(at_start.err.id, "memory");
}

/* Writes "x" 1000 times and ignores what the write answers. */
static const char chatty[] =
    "(module (import \"wasi_snapshot_preview1\" \"fd_write\""
    " (func $write (param i32 i32 i32 i32) (result i32))) (memory (export \"memory\") 1)"
    " (data (i32.const 8) \"x\") (data (i32.const 16) \"\\08\\00\\00\\00\\01\\00\\00\\00\")"
    " (func (export \"_start\") (local $n i32)"
    "  (loop $l (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))"
    "   (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))"
    "    (i32.const 1000))))))";

static void test_output_cap(void **state)
{
    (void)state;
    auto_outcome struct outcome over = {0};
    run_limited(chatty, NULL, NULL, (struct prop_wasm_limits){.max_output = 999}, &over);
    assert_int_equal(over.rc, PROP_E_LIMIT);
    assert_string_equal(over.err.id, "output");
    auto_outcome struct outcome fits = {0};
    run_limited(chatty, NULL, NULL, (struct prop_wasm_limits){.max_output = 1000}, &fits);
    assert_int_equal(fits.rc, 0);
    assert_int_equal(fits.result.out.len, 1000);
}

static void test_missing_import(void **state)
{
    (void)state;
    fails("(module (import \"env\" \"secret\" (func)) (func (export \"f\")))", "f", NULL, 0,
          PROP_E_UNSUPPORTED, "missing-import");
    fails("(component (import \"wasi:http/types@0.2.0\" (instance (export \"f\" (func)))))", "f",
          NULL, 0, PROP_E_UNSUPPORTED, "missing-import");
}

static void write_file(const char *path, const char *text)
{
    struct prop_err err = PROP_ERR_INIT;

    assert_int_equal(prop_file_write(path, text, strlen(text), 0600, true, &err), 0);
}

static void test_wasi_command(void **state)
{
    (void)state;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);
    static const char *const args[] = {"--at-most", "5"};
    char path[] = "/tmp/prop-test-XXXXXX";
    struct prop_wasm_run how = {.name = "wc", .stdin_path = path};
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, "two words\nand more\n");
    load("wc.wasm", &bytes);
    how.module = bytes.data;
    how.module_len = bytes.len;

    auto_outcome struct outcome plain = {0};
    run(&how, &plain);
    assert_int_equal(plain.rc, 0);
    assert_string_equal(prop_buf_str(&plain.result.out), "2 4 19\n");
    assert_int_equal(plain.result.exit_status, 0);

    how.args = args;
    how.n_args = 2;
    auto_outcome struct outcome status = {0};
    run(&how, &status);
    assert_int_equal(status.rc, 0);
    assert_int_equal(status.result.exit_status, 3);
    assert_string_equal(prop_buf_str(&status.result.out), "2 4 19\n");
    assert_string_equal(prop_buf_str(&status.result.err_out), "wc: more than 5 bytes\n");

    how.n_args = 1;
    auto_outcome struct outcome usage = {0};
    run(&how, &usage);
    assert_int_equal(usage.result.exit_status, 2);

    how.n_args = 0;
    how.stdin_path = NULL;
    auto_outcome struct outcome empty = {0};
    run(&how, &empty);
    assert_string_equal(prop_buf_str(&empty.result.out), "0 0 0\n");

    (void)unlink(path);
    how.stdin_path = path;
    auto_outcome struct outcome missing = {0};
    run(&how, &missing);
    assert_int_equal(missing.rc, PROP_E_NOTFOUND);
}

/* Prints how many variables it was given and how many bytes they take. */
static const char env_counter[] =
    "(module (import \"wasi_snapshot_preview1\" \"environ_sizes_get\""
    " (func $sizes (param i32 i32) (result i32))) (memory (export \"memory\") 1)"
    " (func (export \"count\") (result i32 i32)"
    "  (drop (call $sizes (i32.const 0) (i32.const 4)))"
    "  (i32.load (i32.const 0)) (i32.load (i32.const 4))))";

static void test_environment(void **state)
{
    (void)state;
    static const char *const env[] = {"A=1", "LONGER=x=y"};
    static const char *const bad[] = {"NOVALUE"};
    struct prop_wasm_run how = {.module = (const uint8_t *)env_counter,
                                .module_len = sizeof env_counter - 1,
                                .name = "m",
                                .invoke = "count"};

    assert_int_equal(setenv("PROP_TEST_SECRET", "must not be seen", 1), 0);
    auto_outcome struct outcome none = {0};
    run(&how, &none);
    assert_string_equal(prop_buf_str(&none.result.out), "0\n0\n");
    how.env = env;
    how.n_env = 2;
    auto_outcome struct outcome two = {0};
    run(&how, &two);
    assert_string_equal(prop_buf_str(&two.result.out), "2\n15\n");
    how.env = bad;
    how.n_env = 1;
    auto_outcome struct outcome refused = {0};
    run(&how, &refused);
    assert_int_equal(refused.rc, PROP_E_USAGE);
    assert_string_equal(refused.err.id, "bad-env");
}

/* path_open on any descriptor must fail: there is no folder to start from. */
static void test_no_folders(void **state)
{
    (void)state;
    gives("(module (import \"wasi_snapshot_preview1\" \"fd_prestat_get\""
          " (func $p (param i32 i32) (result i32))) (memory (export \"memory\") 1)"
          " (func (export \"f\") (result i32) (call $p (i32.const 3) (i32.const 0))))",
          "f", NULL, 0, "8\n"); /* EBADF */
}

static void test_reactor(void **state)
{
    (void)state;
    gives("(module (global $g (mut i32) (i32.const 0))"
          " (func (export \"_initialize\") (global.set $g (i32.const 7)))"
          " (func (export \"get\") (result i32) (global.get $g)))",
          "get", NULL, 0, "7\n");
}

/* Cut anywhere, a module is refused or still a whole module; nothing crashes. */
static void test_truncated(void **state)
{
    (void)state;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);

    load("add.wasm", &bytes);
    for (size_t n = 0; n < bytes.len; n++) {
        struct prop_wasm_run how = {
            .module = bytes.data, .module_len = n, .name = "m", .invoke = "add"};
        auto_outcome struct outcome o = {0};
        run(&how, &o);
        assert_int_not_equal(o.rc, 0);
        assert_true(o.rc == PROP_E_INPUT || o.rc == PROP_E_NOTFOUND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_no_export),
        cmocka_unit_test(test_not_wasm),
        cmocka_unit_test(test_traps),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_deadline_while_sleeping),
        cmocka_unit_test(test_fuel),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_output_cap),
        cmocka_unit_test(test_missing_import),
        cmocka_unit_test(test_wasi_command),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_no_folders),
        cmocka_unit_test(test_reactor),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_exceptions),
    };
    struct prop_err err = PROP_ERR_INIT;

    if (prop_wasm_warm(&err))
        return 1;
    keep_trap_handlers();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("engine: wasm", tests, NULL, NULL);
}
