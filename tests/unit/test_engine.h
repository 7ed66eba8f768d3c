/* Running modules in unit tests: what they give, what they fail with. */
#ifndef PROP_TESTS_UNIT_TEST_ENGINE_H
#define PROP_TESTS_UNIT_TEST_ENGINE_H

#include "engine/wasm.h"
#include "util/file.h"
#include "util/text.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused))
#define MODULES "examples/modules/"

struct outcome {
    int rc;
    struct prop_err err;
    struct prop_wasm_result result;
};

UNUSED static void outcome_release(struct outcome *o)
{
    prop_wasm_result_release(&o->result);
}
#define auto_outcome __attribute__((cleanup(outcome_release)))

UNUSED static void load(const char *file, struct prop_buf *out)
{
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    const char *root = getenv("PROP_ROOT");

    (void)snprintf(path, sizeof path, "%s/%s%s", root ? root : ".", MODULES, file);
    assert_int_equal(prop_file_read(path, out, &err), 0);
}

/* Traps are signals that Wasmtime handles; cmocka puts its own handlers before each test. */
static const int trap_signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS};
static struct sigaction trap_actions[PROP_ARRAY_LEN(trap_signals)];

UNUSED static void keep_trap_handlers(void)
{
    static const char wat[] = "(module (func (export \"f\")))";
    struct prop_wasm_run how = {
        .module = (const uint8_t *)wat, .module_len = sizeof wat - 1, .name = "m", .invoke = "f"};
    struct prop_wasm_result result = {0};

    if (prop_wasm_run(&how, &result, NULL))
        abort();
    prop_wasm_result_release(&result);
    for (size_t i = 0; i < PROP_ARRAY_LEN(trap_signals); i++)
        (void)sigaction(trap_signals[i], NULL, &trap_actions[i]);
}

UNUSED static void run(const struct prop_wasm_run *how, struct outcome *o)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(trap_signals); i++)
        (void)sigaction(trap_signals[i], &trap_actions[i], NULL);
    o->err = (struct prop_err)PROP_ERR_INIT;
    memset(&o->result, 0, sizeof o->result);
    o->rc = prop_wasm_run(how, &o->result, &o->err);
}

/* Run a module of examples/, or WAT given as it is, with limits that any machine keeps. */
UNUSED static void run_module(const char *module, const char *invoke, const char *const *args,
                       size_t n_args, struct outcome *o)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);
    struct prop_wasm_run how = {.name = "m", .invoke = invoke, .args = args, .n_args = n_args};
    struct prop_err err = PROP_ERR_INIT;

    if (*module == '(')
        assert_int_equal(prop_buf_puts(&bytes, module, &err), 0);
    else
        load(module, &bytes);
    how.module = bytes.data;
    how.module_len = bytes.len;
    how.limits.timeout_ms = 60000;
    run(&how, o);
}

#define ARGS(...)                                                                                  \
    ((const char *const[]){__VA_ARGS__}), PROP_ARRAY_LEN(((const char *const[]){__VA_ARGS__}))

UNUSED static void gives(const char *module, const char *invoke, const char *const *args, size_t n_args,
                  const char *want)
{
    auto_outcome struct outcome o = {0};

    run_module(module, invoke, args, n_args, &o);
    if (o.rc)
        print_error("%s %s: %s\n", module, invoke, o.err.message);
    assert_int_equal(o.rc, 0);
    assert_string_equal(prop_buf_str(&o.result.out), want);
    assert_int_equal(o.result.exit_status, 0);
}

UNUSED static void fails(const char *module, const char *invoke, const char *const *args, size_t n_args,
                  int code, const char *id)
{
    auto_outcome struct outcome o = {0};

    run_module(module, invoke, args, n_args, &o);
    if (o.rc != code || strcmp(prop_err_id(&o.err), id) != 0)
        print_error("%s %s: %d %s %s\n", module, invoke ? invoke : "", o.rc, prop_err_id(&o.err),
                    o.err.message);
    assert_int_equal(o.rc, code);
    assert_string_equal(prop_err_id(&o.err), id);
    assert_null(strchr(o.err.message, '\n'));
    assert_int_equal(o.result.out.len, 0);
}

#endif
