/* How a run ends, told from Wasmtime's error or trap, and where its output goes. */
#include "engine/wasm_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/file.h"
#include "util/stop.h"
#include "util/text.h"

/* ---- errors ---------------------------------------------------------------------------------- */

/* Wasmtime's text is "what\n\nCaused by:\n    0: why\n    1: deeper why"; the last says most. */
static void last_cause(const char *text, size_t len, char *out, size_t size)
{
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' ' || text[len - 1] == 0))
        len--;
    const char *nl = memrchr(text, '\n', len);
    const char *line = nl ? nl + 1 : text;
    size_t n = len - (size_t)(line - text);

    while (n > 0 && *line == ' ')
        line++, n--;
    size_t digits = 0;
    while (digits < n && line[digits] >= '0' && line[digits] <= '9')
        digits++;
    if (digits > 0 && digits + 2 <= n && line[digits] == ':' && line[digits + 1] == ' ')
        line += digits + 2, n -= digits + 2;
    static const char prefix[] = "wasm trap: ";
    if (n > sizeof prefix - 1 && memcmp(line, prefix, sizeof prefix - 1) == 0)
        line += sizeof prefix - 1, n -= sizeof prefix - 1;
    (void)prop_printable(line, n, out, size);
}

struct cause {
    char first[512]; /* what failed */
    char last[512];  /* why, at the bottom */
};

static void cause_read(const wasm_name_t *text, struct cause *c)
{
    const char *nl = text->size ? memchr(text->data, '\n', text->size) : NULL;
    size_t first = nl ? (size_t)(nl - text->data) : text->size;

    (void)prop_printable(text->data, first, c->first, sizeof c->first);
    last_cause(text->data, text->size, c->last, sizeof c->last);
}

static void error_cause(wasmtime_error_t *error, struct cause *c)
{
    wasm_name_t text;

    wasmtime_error_message(error, &text);
    cause_read(&text, c);
    wasm_byte_vec_delete(&text);
    wasmtime_error_delete(error);
}

static void trap_cause(wasm_trap_t *trap, struct cause *c)
{
    wasm_message_t text;

    wasm_trap_message(trap, &text);
    cause_read(&text, c);
    wasm_byte_vec_delete(&text);
    wasm_trap_delete(trap);
}

const char *prop_wasm_error_text(wasmtime_error_t *error, char *out, size_t size)
{
    struct cause c;

    error_cause(error, &c);
    return prop_printable(c.last, strlen(c.last), out, size);
}

const char *prop_wasm_error_first(wasmtime_error_t *error, char *out, size_t size)
{
    struct cause c;

    error_cause(error, &c);
    return prop_printable(c.first, strlen(c.first), out, size);
}

static int fail_write(struct prop_wasm_job *job, struct prop_err *err)
{
    errno = atomic_load(&job->out.failed);
    if (errno == 0) /* it was to be kept in memory */
        return prop_err_nomem(err);
    return prop_err_sys(err, PROP_E_IO, "write what '%s' prints", job->name);
}

int prop_wasm_fail_reason(struct prop_wasm_job *job, int reason, struct prop_err *err)
{
    switch (reason) {
    case PROP_WASM_DEADLINE:
        prop_err_set_id(err, PROP_E_TIMEOUT, "deadline", "'%s' ran longer than %llu ms", job->name,
                        (unsigned long long)job->limits.timeout_ms);
        return prop_err_hint(err, "give it more time with --timeout");
    case PROP_WASM_OUTPUT:
        prop_err_set_id(err, PROP_E_LIMIT, "output", "'%s' wrote more than %llu bytes", job->name,
                        (unsigned long long)job->limits.max_output);
        return prop_err_hint(err, "allow more with --max-output");
    case PROP_WASM_UNREAD:
        return fail_write(job, err);
    default:
        (void)prop_stop_check(err);
        return PROP_E_INTERRUPTED;
    }
}

/* The causes that are not traps; 0 when it is none of them. Only what Wasmtime says itself is
 * looked at: what stands between the first line and the last may be names that the guest chose. */
static int fail_known(struct prop_wasm_job *job, const struct cause *c, struct prop_err *err)
{
    if (strstr(c->last, "all fuel consumed")) {
        prop_err_set_id(err, PROP_E_LIMIT, "fuel", "'%s' used up its fuel of %llu", job->name,
                        (unsigned long long)job->limits.fuel);
        return prop_err_hint(err, "give it more with --fuel");
    }
    if (strstr(c->last, "when growing memory") || strstr(c->last, "exceeds memory limits") ||
        strcmp(c->last, "Cannot allocate memory (os error 12)") == 0) {
        prop_err_set_id(err, PROP_E_LIMIT, "memory", "'%s' wants more memory than %llu bytes",
                        job->name, (unsigned long long)job->limits.max_memory);
        return prop_err_hint(err, "allow more with --max-memory");
    }
    if (strstr(c->last, "when growing table") || strstr(c->last, "exceeds table limits")) {
        prop_err_set_id(err, PROP_E_LIMIT, "table", "'%s' wants a table of more than %llu elements",
                        job->name, (unsigned long long)job->limits.max_table);
        return prop_err_hint(err, "allow more with --max-table");
    }
    if (strncmp(c->last, "resource limit exceeded: ", 25) == 0)
        return prop_err_set_id(err, PROP_E_LIMIT, "too-many",
                               "'%s' has too many memories, tables or instances: %s", job->name,
                               c->last + 25);
    if (strstr(c->first, "unknown import") || strstr(c->first, "was not found in the linker")) {
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "missing-import", "'%s': %s", job->name,
                        c->first);
        return prop_err_hint(err, "modules get WASI preview 1, components the WASI preview 2 "
                                  "command world, and nothing else");
    }
    return 0;
}

int prop_wasm_outcome(struct prop_wasm_job *job, wasmtime_error_t *error, wasm_trap_t *trap,
                      struct prop_err *err)
{
    struct cause c;
    int status = 0;
    int reason = atomic_load(&job->reason);

    if (error && wasmtime_error_exit_status(error, &status)) {
        wasmtime_error_delete(error);
        job->exit_status = status;
        return 0;
    }
    if (error)
        error_cause(error, &c);
    else
        trap_cause(trap, &c);
    if (reason != PROP_WASM_GOES_ON)
        return prop_wasm_fail_reason(job, reason, err);
    int rc = fail_known(job, &c, err);
    if (rc)
        return rc;
    return prop_err_set_id(err, PROP_E_TRAP, "trap", "'%s' trapped: %s", job->name, c.last);
}

/* ---- output ---------------------------------------------------------------------------------- */

void prop_wasm_end(struct prop_wasm_job *job, enum prop_wasm_reason reason)
{
    int expected = PROP_WASM_GOES_ON;

    (void)atomic_compare_exchange_strong(&job->reason, &expected, (int)reason);
    wasmtime_engine_increment_epoch(job->engine);
}

ptrdiff_t prop_wasm_sink_write(void *ctx, const unsigned char *data, size_t len)
{
    struct prop_wasm_sink *s = ctx;
    uint64_t cap = s->job->limits.max_output;

    if (len > cap - s->passed) { /* passed never exceeds cap */
        prop_wasm_end(s->job, PROP_WASM_OUTPUT);
        return -EFBIG;
    }
    if (s->fd >= 0) {
        if (prop_write_all(s->fd, data, len)) {
            int cause = errno;
            if (s->fd == STDOUT_FILENO) { /* as SIGPIPE ends a program that looks at no error */
                atomic_store(&s->failed, cause);
                prop_wasm_end(s->job, PROP_WASM_UNREAD);
            }
            return -cause;
        }
    } else if (prop_buf_add(&s->buf, data, len, NULL)) {
        return -ENOMEM;
    }
    s->passed += len;
    return (ptrdiff_t)len;
}

int prop_wasm_print(struct prop_wasm_job *job, const char *text, struct prop_err *err)
{
    if (prop_wasm_sink_write(&job->out, (const unsigned char *)text, strlen(text)) >= 0)
        return 0;
    return atomic_load(&job->reason) == PROP_WASM_OUTPUT
               ? prop_wasm_fail_reason(job, PROP_WASM_OUTPUT, err)
               : fail_write(job, err);
}
