/* The runner: what its children give back, each way in which they end, and that nothing is left. */
#include "guest/runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/file.h"
#include "util/text.h"

static struct prop_runner *runner;

/* ---- helpers --------------------------------------------------------------------------------- */

struct got {
    int rc;
    struct prop_err err;
    struct prop_wasm_result result;
};

static void got_release(struct got *g)
{
    prop_wasm_result_release(&g->result);
}
#define auto_got __attribute__((cleanup(got_release)))
PROP_DEFINE_AUTO(struct prop_program *, prop_program_unref)
#define auto_program __attribute__((cleanup(prop_program_unref_p)))

static struct prop_program *compile_in(struct prop_runner *r, const char *wat, bool fuel)
{
    struct prop_compile_how how = {.fuel = fuel};
    struct prop_program *p = NULL;
    struct prop_err err = PROP_ERR_INIT;

    if (prop_runner_compile_with(r, wat, strlen(wat), "m", &how, &p, &err))
        fail_msg("compile: %s", err.message);
    return p;
}

static struct prop_program *compile(const char *wat)
{
    return compile_in(runner, wat, false);
}

static void run_with(const struct prop_program *p, const struct prop_wasm_run *how,
                     struct prop_run_handle *handle, struct got *g)
{
    struct prop_wasm_run with = *how;

    with.name = with.name ? with.name : "m";
    if (!with.limits.timeout_ms)
        with.limits.timeout_ms = 60000;
    g->err = (struct prop_err)PROP_ERR_INIT;
    memset(&g->result, 0, sizeof g->result);
    g->rc = prop_runner_run(runner, p, &with, handle, &g->result, &g->err);
}

static void gives(const char *wat, const struct prop_wasm_run *how, const char *want, int status)
{
    auto_program struct prop_program *p = compile(wat);
    auto_got struct got g;

    run_with(p, how, NULL, &g);
    if (g.rc)
        fail_msg("%s: %s", prop_err_id(&g.err), g.err.message);
    assert_string_equal(prop_buf_str(&g.result.out), want);
    assert_int_equal(g.result.exit_status, status);
}

static void fails(const char *wat, const struct prop_wasm_run *how, int code, const char *id)
{
    auto_program struct prop_program *p = compile_in(runner, wat, how->limits.fuel > 0);
    auto_got struct got g;

    run_with(p, how, NULL, &g);
    if (g.rc != code || strcmp(prop_err_id(&g.err), id) != 0)
        fail_msg("%d %s: %s", g.rc, prop_err_id(&g.err), g.err.message);
    assert_null(strchr(g.err.message, '\n'));
}

#define ADD "(module (func (export \"add\") (param i32 i32) (result i32)"                           \
            " (i32.add (local.get 0) (local.get 1))))"
#define LOOP "(module (func (export \"_start\") (loop (br 0))))"

static const char *const ten_twenty[] = {"10", "20"};
static const struct prop_wasm_run call_add = {.invoke = "add", .args = ten_twenty, .n_args = 2};
static const struct prop_wasm_run command = {.invoke = NULL};

/* ---- it runs --------------------------------------------------------------------------------- */

static void test_numbers_and_commands(void **state)
{
    (void)state;
    gives(ADD, &call_add, "30\n", 0);
    gives("(module (import \"wasi_snapshot_preview1\" \"fd_write\""
          " (func $w (param i32 i32 i32 i32) (result i32)))"
          " (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"
          " (memory (export \"memory\") 1) (data (i32.const 8) \"hello\\n\")"
          " (data (i32.const 32) \"\\08\\00\\00\\00\\06\\00\\00\\00\")"
          " (func (export \"_start\")"
          "  (drop (call $w (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 48)))"
          "  (call $exit (i32.const 3))))",
          &command, "hello\n", 3);
}

static void test_one_program_many_runs(void **state)
{
    (void)state;
    auto_program struct prop_program *p = compile(ADD);

    assert_true(prop_program_size(p) > 1000);
    for (int i = 0; i < 20; i++) {
        auto_got struct got g;
        run_with(p, &call_add, NULL, &g);
        assert_int_equal(g.rc, 0);
        assert_string_equal(prop_buf_str(&g.result.out), "30\n");
    }
}


/* ---- it ends --------------------------------------------------------------------------------- */

static void test_traps_and_statuses(void **state)
{
    (void)state;
    fails("(module (func (export \"_start\") unreachable))", &command, PROP_E_TRAP, "trap");
    fails("(module (func $f (export \"_start\") (call $f)))", &command, PROP_E_TRAP, "trap");
    fails(ADD, &command, PROP_E_NOTFOUND, "no-export");
    fails(ADD, &(struct prop_wasm_run){.invoke = "add"}, PROP_E_INPUT, "bad-argument");
    fails("(module (import \"env\" \"f\" (func)))", &command, PROP_E_UNSUPPORTED,
          "missing-import");
}

static void test_time_and_fuel(void **state)
{
    (void)state;
    fails(LOOP, &(struct prop_wasm_run){.limits.timeout_ms = 100}, PROP_E_TIMEOUT, "deadline");
    fails(LOOP, &(struct prop_wasm_run){.limits.fuel = 10000}, PROP_E_LIMIT, "fuel");
}

/* Sleeps in a call to us, where no instruction of its own looks at a clock. */
static void test_a_sleeper(void **state)
{
    (void)state;
    fails("(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\""
          " (func $poll (param i32 i32 i32 i32) (result i32))) (memory (export \"memory\") 1)"
          " (data (i32.const 24) \"\\00\\00\\00\\00\\00\\00\\00\\7f\")"
          " (func (export \"_start\")"
          "  (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))",
          &(struct prop_wasm_run){.limits.timeout_ms = 200}, PROP_E_TIMEOUT, "deadline");
}

#define SPAM                                                                                       \
    "(module (import \"wasi_snapshot_preview1\" \"fd_write\""                                      \
    " (func $w (param i32 i32 i32 i32) (result i32))) (memory (export \"memory\") 1)"              \
    " (data (i32.const 0) \"\\10\\00\\00\\00\\00\\40\\00\\00\")"                                   \
    " (func (export \"_start\") (loop (drop (call $w (i32.const FD) (i32.const 0) (i32.const 1)"   \
    " (i32.const 8))) (br 0))))"

static void test_output_without_end(void **state)
{
    (void)state;
    char wat[] = SPAM;
    char *fd = strstr(wat, "FD");

    memcpy(fd, " 1", 2);
    fails(wat, &(struct prop_wasm_run){.limits.max_output = 100000}, PROP_E_LIMIT, "output");
    fails(wat, &command, PROP_E_LIMIT, "output");
    memcpy(fd, " 2", 2);
    fails(wat, &(struct prop_wasm_run){.limits.max_output = 100000}, PROP_E_LIMIT, "output");
}

static void test_memory_without_end(void **state)
{
    (void)state;
    static const struct prop_wasm_run small = {.limits.max_memory = 64u << 20};

    /* each page touched */
    fails("(module (memory 1) (func (export \"_start\") (local i32) (loop"
          " (drop (memory.grow (i32.const 16))) (i32.store (local.get 0) (i32.const 1))"
          " (local.set 0 (i32.add (local.get 0) (i32.const 65536))) (br 0))))",
          &small, PROP_E_LIMIT, "memory");
    fails("(module (memory 2000))", &small, PROP_E_LIMIT, "memory");
    /* more memories than there may be */
    fails("(module (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1)"
          " (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1) (memory 1)"
          " (memory 1) (memory 1) (memory 1) (func (export \"_start\")))",
          &small, PROP_E_LIMIT, "too-many");
}

static void test_memories_together(void **state)
{
    (void)state;
#ifndef __SANITIZE_ADDRESS__
    /* 16 times 200 MB, where 256 and what the engine needs are allowed */
    fails("(module (memory 3200) (memory 3200) (memory 3200) (memory 3200) (memory 3200)"
          " (memory 3200) (memory 3200) (memory 3200) (func (export \"_start\")))",
          &(struct prop_wasm_run){.limits.max_memory = 256u << 20}, PROP_E_LIMIT, "memory");
#endif
}

static void test_tables_without_end(void **state)
{
    (void)state;
    static const struct prop_wasm_run small = {.limits.max_table = 1000};
    static const char grows[] =
        "(module (table 1 funcref) (func (export \"_start\") (loop"
        " (drop (table.grow (ref.null func) (i32.const 100000))) (br 0))))";

    fails(grows, &small, PROP_E_LIMIT, "table");
    fails(grows, &command, PROP_E_LIMIT, "table");
    fails("(module (table 5000 funcref) (func (export \"_start\")))", &small, PROP_E_LIMIT, "table");
}

static void test_the_stack(void **state)
{
    (void)state;
    static const char deep[] =
        "(module (func $f (param i32) (result i32) (if (result i32) (local.get 0)"
        " (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))"
        " (else (i32.const 0)))) (func (export \"f\") (param i32) (result i32)"
        " (call $f (local.get 0))))";
    static const char *const ten_thousand[] = {"8000"};

    gives(deep, &(struct prop_wasm_run){.invoke = "f", .args = ten_thousand, .n_args = 1},
          "8000\n", 0);
    fails(deep, &(struct prop_wasm_run){.invoke = "f", .args = ten_thousand, .n_args = 1,
                                        .limits.max_stack = 64u << 10},
          PROP_E_TRAP, "trap");
    static const char *const more[] = {"60000"};
    gives(deep, &(struct prop_wasm_run){.invoke = "f", .args = more, .n_args = 1,
                                        .limits.max_stack = PROP_WASM_MAX_STACK},
          "60000\n", 0);
}

static void refused(const char *bytes, size_t len, int code, const char *id)
{
    struct prop_program *p = NULL;
    struct prop_err err = PROP_ERR_INIT;

    assert_int_equal(prop_runner_compile(runner, bytes, len, "m", &p, &err), code);
    assert_string_equal(prop_err_id(&err), id);
    assert_null(p);
}

static void test_what_does_not_compile(void **state)
{
    (void)state;
    refused("", 0, PROP_E_INPUT, "not-wasm");
    refused("hello", 5, PROP_E_INPUT, "not-wasm");
    refused("(module", 7, PROP_E_INPUT, "wasm-invalid");
    refused("\0asm\1\0\0\0\xff", 9, PROP_E_INPUT, "wasm-invalid");
}

static void test_compile_limits(void **state)
{
    (void)state;
    struct prop_runner_config config = {.compile_ms = 1};
    prop_auto_runner struct prop_runner *r = NULL;
    prop_auto_buf struct prop_buf wat = PROP_BUF_INIT(8u << 20);
    struct prop_program *p = NULL;
    struct prop_err err = PROP_ERR_INIT;

    assert_int_equal(prop_buf_puts(&wat, "(module", NULL), 0);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(prop_buf_puts(&wat, "(func (result i32) (i32.mul (i32.const 3)"
                                             " (i32.add (i32.const 4) (i32.const 5))))", NULL), 0);
    assert_int_equal(prop_buf_puts(&wat, ")", NULL), 0);
    assert_int_equal(prop_runner_start(&config, &r, &err), 0);
    assert_int_equal(prop_runner_compile(r, wat.data, wat.len, "m", &p, &err), PROP_E_TIMEOUT);
    assert_string_equal(prop_err_id(&err), "compile-limit");
#ifndef __SANITIZE_ADDRESS__
    prop_runner_free(r);
    config = (struct prop_runner_config){.compile_memory = 24u << 20};
    assert_int_equal(prop_runner_start(&config, &r, &err), 0);
    assert_int_equal(prop_runner_compile(r, wat.data, wat.len, "m", &p, &err), PROP_E_LIMIT);
    assert_string_equal(prop_err_id(&err), "compile-limit");
#endif
}

static void test_fuel_wants_its_own_code(void **state)
{
    (void)state;
    auto_program struct prop_program *with = compile_in(runner, ADD, true);
    auto_program struct prop_program *without = compile(ADD);
    struct prop_wasm_run how = call_add;
    auto_got struct got g;

    assert_true(prop_program_counts_fuel(with));
    assert_false(prop_program_counts_fuel(without));
    run_with(with, &how, NULL, &g);
    assert_int_equal(g.rc, PROP_E_BUG);
    how.limits.fuel = 1000;
    run_with(without, &how, NULL, &g);
    assert_int_equal(g.rc, PROP_E_BUG);
    run_with(with, &how, NULL, &g);
    assert_int_equal(g.rc, 0);
}

/* ---- stopping it ----------------------------------------------------------------------------- */

static void *stop_soon(void *arg)
{
    struct prop_run_handle *h = arg;

    while (atomic_load(&h->pid) == 0)
        (void)usleep(1000);
    prop_run_stop(h);
    prop_run_stop(h);
    return NULL;
}

static void test_a_stop(void **state)
{
    (void)state;
    auto_program struct prop_program *p = compile(LOOP);
    struct prop_run_handle h = {.wake = 0};
    pthread_t thread;
    auto_got struct got g;

    assert_int_equal(pthread_create(&thread, NULL, stop_soon, &h), 0);
    run_with(p, &command, &h, &g);
    (void)pthread_join(thread, NULL);
    assert_int_equal(g.rc, PROP_E_INTERRUPTED);
    assert_string_equal(prop_err_id(&g.err), "stopped");
    assert_int_equal(atomic_load(&h.pid), 0);
    prop_run_stop(&h); /* after it ended */
    run_with(p, &command, &h, &g); /* and before it began */
    assert_int_equal(g.rc, PROP_E_INTERRUPTED);
    assert_string_equal(prop_err_id(&g.err), "stopped");
}

struct worker {
    const struct prop_program *p;
    int bad;
};

static void *work(void *arg)
{
    struct worker *w = arg;

    for (int i = 0; i < 10; i++) {
        auto_got struct got g;
        run_with(w->p, &call_add, NULL, &g);
        w->bad += g.rc != 0 || strcmp(prop_buf_str(&g.result.out), "30\n") != 0;
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    auto_program struct prop_program *p = compile(ADD);
    struct worker workers[8];
    pthread_t threads[PROP_ARRAY_LEN(workers)];

    for (size_t i = 0; i < PROP_ARRAY_LEN(workers); i++) {
        workers[i] = (struct worker){p, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(workers); i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].bad, 0);
    }
}

/* ---- what is left ---------------------------------------------------------------------------- */

/* Processes whose parent is `parent`, by /proc. */
static pid_t find_child(pid_t parent)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;

    for (struct dirent *e = proc ? readdir(proc) : NULL; e && !found; e = readdir(proc)) {
        char path[300];
        prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
        int ppid = 0;
        (void)snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || prop_file_read(path, &text, NULL))
            continue;
        const char *end = strrchr(prop_buf_str(&text), ')');
        if (end && sscanf(end, ") %*c %d", &ppid) == 1 && ppid == parent)
            found = (pid_t)atoi(e->d_name);
    }
    if (proc)
        (void)closedir(proc);
    return found;
}

static void test_the_server_is_killed(void **state)
{
    (void)state;
    struct prop_runner_config config = {.hasty = true};
    prop_auto_runner struct prop_runner *r = NULL;
    struct prop_err err = PROP_ERR_INIT;
    auto_got struct got g;
    struct prop_wasm_run how = call_add;

    how.name = "m";
    prop_runner_free(runner); /* so that there is one server only */
    runner = NULL;
    assert_int_equal(prop_runner_start(&config, &r, &err), 0);
    auto_program struct prop_program *p = compile_in(r, ADD, false);
    pid_t server = find_child(getpid());
    assert_true(server > 0);
    assert_int_equal(kill(server, SIGKILL), 0);
    while (find_child(server))
        (void)usleep(1000);
    /* noticed at once or in the middle; the next run has a new server */
    g.rc = prop_runner_run(r, p, &how, NULL, &g.result, &g.err);
    if (g.rc)
        g.rc = prop_runner_run(r, p, &how, NULL, &g.result, &g.err);
    assert_int_equal(g.rc, 0);
    assert_string_equal(prop_buf_str(&g.result.out), "30\n");
    prop_runner_free(r);
    r = NULL;
    assert_int_equal(find_child(getpid()), 0);
    config.hasty = false;
    assert_int_equal(prop_runner_start(&config, &runner, &err), 0);
}

static unsigned long own_memory(void)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(4096);
    unsigned long pages = 0;

    assert_int_equal(prop_file_read("/proc/self/statm", &text, NULL), 0);
    assert_int_equal(sscanf(prop_buf_str(&text), "%*u %lu", &pages), 1);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

static int open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        (void)closedir(d);
    return n;
}

static void test_nothing_piles_up(void **state)
{
    (void)state;
    auto_program struct prop_program *p = compile(ADD);
    unsigned long before = 0;
    int files = 0;

    for (int i = 0; i < 220; i++) {
        auto_got struct got g;
        run_with(p, &call_add, NULL, &g);
        assert_int_equal(g.rc, 0);
        if (i == 20) {
            before = own_memory();
            files = open_files();
        }
    }
    assert_int_equal(open_files(), files);
#ifdef __SANITIZE_ADDRESS__ /* keeps what was freed for a while */
    (void)before;
#else
    assert_true(own_memory() < before + (256u << 10));
#endif
}

/* ---- stdin, folders, another runtime --------------------------------------------------------- */

/* copies stdin to stdout */
#define CAT                                                                                        \
    "(module (import \"wasi_snapshot_preview1\" \"fd_read\""                                       \
    " (func $r (param i32 i32 i32 i32) (result i32)))"                                             \
    " (import \"wasi_snapshot_preview1\" \"fd_write\""                                             \
    " (func $w (param i32 i32 i32 i32) (result i32))) (memory (export \"memory\") 2)"              \
    " (func (export \"_start\") (loop $l"                                                          \
    " (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 65536))"      \
    " (if (i32.eqz (call $r (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))) (then"       \
    " (if (i32.load (i32.const 8)) (then"                                                          \
    "  (i32.store (i32.const 4) (i32.load (i32.const 8)))"                                         \
    "  (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))) (br $l))))))))"

static void test_stdin_is_given(void **state)
{
    (void)state;
    char path[] = "/tmp/prop-runner-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(prop_write_all(fd, "one\ntwo\n", 8), 0);
    (void)close(fd);
    gives(CAT, &(struct prop_wasm_run){.stdin_path = path}, "one\ntwo\n", 0);
    gives(CAT, &command, "", 0);
    (void)unlink(path);
    fails(CAT, &(struct prop_wasm_run){.stdin_path = path}, PROP_E_NOTFOUND, "not-found");
}

static void write_program(const char *path, const char *text)
{
    struct prop_err err = PROP_ERR_INIT;

    assert_int_equal(prop_file_write(path, text, strlen(text), 0755, true, &err), 0);
}

static void test_another_runtime(void **state)
{
    (void)state;
    char dir[] = "/tmp/prop-runtime-XXXXXX";
    char path[64];
    static const char *const env[] = {"A=1", "B=two words"};
    struct prop_wasm_run how = {.name = "m", .invoke = "add", .args = ten_twenty, .n_args = 2,
                                .env = env, .n_env = 2, .limits.timeout_ms = 60000};
    prop_auto_runner struct prop_runner *r = NULL;
    struct prop_program *p = NULL;
    struct prop_err err = PROP_ERR_INIT;
    auto_got struct got g;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/runtime", dir);
    write_program(path, "#!/bin/sh\nfor a in \"$@\"; do echo \"[$a]\"; done\nfor f in \"$@\"; do case $f in"
                        " /proc/self/fd/*) head -c 4 <\"$f\" | tail -c 3;; esac; done\n"
                        "echo; echo \"$A $B $HOME\" >&2; exit 5\n");
    struct prop_runner_config config = {.external = path};
    assert_int_equal(prop_runner_start(&config, &r, &err), 0);
    assert_int_equal(prop_runner_compile(r, "\0asm\1\0\0\0", 8, "m", &p, &err), 0);
    g.rc = prop_runner_run(r, p, &how, NULL, &g.result, &g.err);
    if (g.rc)
        fail_msg("%s", g.err.message);
    assert_string_equal(prop_buf_str(&g.result.out),
                        "[run]\n[--invoke]\n[add]\n[--env]\n[A=1]\n[--env]\n[B=two words]\n"
                        "[/proc/self/fd/5]\n[10]\n[20]\nasm\n");
    assert_string_equal(prop_buf_str(&g.result.err_out), "1 two words \n");
    assert_int_equal(g.result.exit_status, 5);
    prop_program_unref(p);
    /* a component's call, in the form for encrypted tasks */
    const struct prop_compile_how encrypted = {.encrypted = true};
    assert_int_equal(prop_runner_compile_with(r, "\0asm\x0d\0\1\0", 8, "m", &encrypted, &p, &err), 0);
    how.n_env = 0;
    prop_wasm_result_release(&g.result);
    g.rc = prop_runner_run(r, p, &how, NULL, &g.result, &g.err);
    assert_int_equal(g.rc, 0);
    assert_string_equal(prop_buf_str(&g.result.out),
                        "[--invoke]\n[add(10, 20)]\n[/proc/self/fd/5]\nasm\n");
    /* its group is killed, whatever it started */
    write_program(path, "#!/bin/sh\ntrap '' TERM INT\nsleep 1000 & sleep 1000\n");
    how.limits.timeout_ms = 300;
    prop_wasm_result_release(&g.result);
    g.err = (struct prop_err)PROP_ERR_INIT;
    assert_int_equal(prop_runner_run(r, p, &how, NULL, &g.result, &g.err), PROP_E_TIMEOUT);
    assert_string_equal(prop_err_id(&g.err), "deadline");
    prop_program_unref(p);
    (void)unlink(path);
    (void)rmdir(dir);
}

static void test_a_runtime_that_is_not_there(void **state)
{
    (void)state;
    const struct prop_runner_config config = {.external = "/nonexistent/wasmtime"};
    struct prop_runner *r = NULL;
    struct prop_err err = PROP_ERR_INIT;

    assert_int_equal(prop_runner_start(&config, &r, &err), PROP_E_NOTFOUND);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_and_commands),
        cmocka_unit_test(test_one_program_many_runs),
        cmocka_unit_test(test_traps_and_statuses),
        cmocka_unit_test(test_time_and_fuel),
        cmocka_unit_test(test_a_sleeper),
        cmocka_unit_test(test_output_without_end),
        cmocka_unit_test(test_memory_without_end),
        cmocka_unit_test(test_memories_together),
        cmocka_unit_test(test_tables_without_end),
        cmocka_unit_test(test_the_stack),
        cmocka_unit_test(test_what_does_not_compile),
        cmocka_unit_test(test_compile_limits),
        cmocka_unit_test(test_fuel_wants_its_own_code),
        cmocka_unit_test(test_a_stop),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_the_server_is_killed),
        cmocka_unit_test(test_nothing_piles_up),
        cmocka_unit_test(test_stdin_is_given),
        cmocka_unit_test(test_another_runtime),
        cmocka_unit_test(test_a_runtime_that_is_not_there),
    };
    struct prop_runner_config config = {.hasty = false};
    struct prop_err err = PROP_ERR_INIT;

    prop_runner_main(argc, argv);
    if (prop_runner_start(&config, &runner, &err)) {
        (void)fprintf(stderr, "runner: %s\n", err.message);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    prop_runner_free(runner);
    return failed;
}
