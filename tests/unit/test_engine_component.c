/* Running components: WAVE values of every kind in and out, the command world. */
#include "tests/unit/test_engine.h"

static void test_component(void **state)
{
    (void)state;
    gives("greet.wat", "greet", ARGS("\"Ann\""), "\"Hello, Ann!\"\n");
    gives("greet.wasm", "greet", ARGS("Ann \xc3\xa9"), "\"Hello, Ann \xc3\xa9!\"\n");
    gives("greet.wasm", "greet", ARGS(""), "\"Hello, !\"\n");
    gives("greet.wasm", "scale", ARGS("{x: 3, y: -4}", "10"), "{x: 30, y: -40}\n");
    fails("greet.wasm", "scale", ARGS("{x: 3}", "10"), PROP_E_INPUT, "bad-argument");
    fails("greet.wasm", "scale", ARGS("{x: 3, y: 4}", "ten"), PROP_E_INPUT, "bad-argument");
    fails("greet.wasm", "scale", ARGS("{x: 3, y: 4}"), PROP_E_INPUT, "bad-argument");
    fails("greet.wasm", "greet", ARGS("\"open"), PROP_E_INPUT, "bad-argument");
}

/* The identity on one type, so that a value makes the whole way in and out. `flat` is how many core
 * values the type takes; those above one come back through memory. */
static void identity(const char *type, const char *name, const char *text, const char *want)
{
    char wat[4096];
    (void)snprintf(wat, sizeof wat,
                   "(component (core module $m (memory (export \"memory\") 1)"
                   " (func (export \"f\") %s)"
                   " (global $n (mut i32) (i32.const 256))"
                   " (func (export \"realloc\") (param i32 i32 i32 i32) (result i32)"
                   "  (local $p i32) (local.set $p (i32.and (i32.add (global.get $n) (i32.const 7))"
                   "  (i32.const -8))) (global.set $n (i32.add (local.get $p) (local.get 3)))"
                   "  (local.get $p)))"
                   " (core instance $i (instantiate $m))"
                   " (alias core export $i \"memory\" (core memory $mem))"
                   " (alias core export $i \"realloc\" (core func $re))"
                   " (type $d %s) (export $t \"t\" (type $d))"
                   " (func (export \"f\") (param \"v\" $t) (result $t) (canon lift"
                   " (core func $i \"f\") (memory $mem) (realloc $re))))",
                   type, name);
    gives(wat, "f", ARGS(text), want);
}

/* bodies: give back the core parameters as the type's result */
#define ONE(t) "(param " t ") (result " t ") (local.get 0)"
#define PAIR                                                                                       \
    "(param i32 i32) (result i32) (i32.store (i32.const 0) (local.get 0))"                         \
    " (i32.store (i32.const 4) (local.get 1)) (i32.const 0)"
#define TAG_BYTE                                                                                   \
    "(param i32 i32) (result i32) (i32.store8 (i32.const 0) (local.get 0))"                        \
    " (i32.store (i32.const 4) (local.get 1)) (i32.const 0)"

static void test_wave_types(void **state)
{
    (void)state;
    identity(ONE("i32"), "(enum \"red\" \"green\")", "green", "green\n");
    identity(ONE("i32"), "(flags \"r\" \"w\" \"x\")", "{x, r}", "{r, x}\n");
    identity(ONE("i64"), "(record (field \"a\" u64))", "{a: 18446744073709551615}",
             "{a: 18446744073709551615}\n");
    identity(ONE("i64"), "(record (field \"a\" s64))", "{a: -9223372036854775808}",
             "{a: -9223372036854775808}\n");
    identity(ONE("f64"), "(record (field \"a\" f64))", "{a: 0.1}", "{a: 0.1}\n");
    identity(ONE("f32"), "(record (field \"a\" f32))", "{a: -inf}", "{a: -inf}\n");
    identity(ONE("i32"), "(record (field \"a\" bool))", "{a: true}", "{a: true}\n");
    identity(ONE("i32"), "(record (field \"a\" char))", "{a: '\xc3\xa9'}", "{a: '\xc3\xa9'}\n");
    identity(ONE("i32"), "(record (field \"a\" s8))", "{a: -128}", "{a: -128}\n");
    identity(PAIR, "(tuple u32 s32)", "(4294967295, -1)", "(4294967295, -1)\n");
    identity(PAIR, "(record (field \"l\" (list string)))", "{l: [\"a\", \"b\\\"\"]}",
             "{l: [\"a\", \"b\\\"\"]}\n");
    identity(PAIR, "(record (field \"l\" (list u8)))", "{l: []}", "{l: []}\n");
}

static void test_wave_variants(void **state)
{
    (void)state;
    identity(TAG_BYTE, "(variant (case \"none-of-it\") (case \"some-of-it\" u32))",
             "some-of-it(7)", "some-of-it(7)\n");
    identity(TAG_BYTE, "(variant (case \"none-of-it\") (case \"some-of-it\" u32))", "none-of-it",
             "none-of-it\n");
    identity(TAG_BYTE, "(record (field \"o\" (option u32)))", "{o: some(3)}", "{o: some(3)}\n");
    identity(TAG_BYTE, "(record (field \"o\" (option u32)))", "{:}", "{:}\n");
    identity(TAG_BYTE, "(record (field \"r\" (result u32 (error u32))))", "{r: err(9)}",
             "{r: err(9)}\n");
    identity(ONE("i32"), "(record (field \"r\" (result)))", "{r: ok}", "{r: ok}\n");
}

/* A component of the command world that imports nothing and answers err: status 1. */
static void test_component_command(void **state)
{
    (void)state;
    static const char wat[] =
        "(component (core module $m (func (export \"run\") (result i32) (i32.const 1)))"
        " (core instance $i (instantiate $m))"
        " (func $run (result (result)) (canon lift (core func $i \"run\")))"
        " (instance $e (export \"run\" (func $run)))"
        " (export \"wasi:cli/run@0.2.3\" (instance $e)))";
    auto_outcome struct outcome o = {0};

    run_module(wat, NULL, NULL, 0, &o);
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.result.exit_status, 1);
    gives(wat, "run", NULL, 0, "err\n");
    gives(wat, "run#run", NULL, 0, "err\n");
    gives(wat, "wasi:cli/run@0.2.3#run", NULL, 0, "err\n");
    fails(wat, "other#run", NULL, 0, PROP_E_NOTFOUND, "no-export");
}

/* The committed binary of the component is what its source gives. */
static void test_component_source(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(1u << 20);
    prop_auto_buf struct prop_buf binary = PROP_BUF_INIT(1u << 20);
    prop_auto_buf struct prop_buf made = PROP_BUF_INIT(1u << 20);

    load("greet.wat", &text);
    load("greet.wasm", &binary);
    assert_int_equal(prop_wasm_assemble(prop_buf_str(&text), text.len, "greet", &made, &err), 0);
    assert_int_equal(made.len, binary.len);
    assert_memory_equal(made.data, binary.data, made.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_component),
        cmocka_unit_test(test_wave_types),
        cmocka_unit_test(test_wave_variants),
        cmocka_unit_test(test_component_command),
        cmocka_unit_test(test_component_source),
    };
    struct prop_err err = PROP_ERR_INIT;

    if (prop_wasm_warm(&err))
        return 1;
    keep_trap_handlers();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("engine: components", tests, NULL, NULL);
}
