/* Messages and specs between a runner's processes. */
#include "guest/runner_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/text.h"

/* ---- messages -------------------------------------------------------------------------------- */

int runner_send(int sock, const void *msg, size_t len, const int *fds, size_t n_fds, int flags)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int) * RUNNER_MAX_FDS)];
    union {
        const void *in;
        void *out;
    } base = {.in = msg};
    struct iovec iov = {base.out, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    memset(room, 0, sizeof room);
    if (n_fds) {
        m.msg_control = room;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (!c) /* there is room for one */
            return -1;
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &m, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len ? 0 : -1;
}

static void take_fds(struct msghdr *m, int *fds, size_t *n_fds)
{
    size_t room = *n_fds;

    *n_fds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd = -1;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (*n_fds < room)
                fds[(*n_fds)++] = fd;
            else
                (void)close(fd);
        }
    }
}

ssize_t runner_recv(int sock, void *msg, size_t len, int *fds, size_t *n_fds, int flags)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int) * RUNNER_MAX_FDS)];
    struct iovec iov = {msg, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (n_fds) {
        m.msg_control = room;
        m.msg_controllen = sizeof room;
    }
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && errno == EINTR);
    if (n_fds)
        take_fds(&m, fds, n_fds);
    return n;
}

/* ---- specs: numbers of 8 bytes, texts with their length before and a 0 behind them ----------- */

#define MAX_TEXTS 20000 /* arguments and variables of one run */

static int put_number(struct prop_buf *out, uint64_t v, struct prop_err *err)
{
    return prop_buf_add(out, &v, sizeof v, err);
}

static int put_text(struct prop_buf *out, const char *text, struct prop_err *err)
{
    size_t len = text ? strlen(text) : 0;
    int rc = put_number(out, text ? (uint64_t)len + 1 : 0, err);

    return rc || !text ? rc : prop_buf_add(out, text, len + 1, err);
}

static int put_list(struct prop_buf *out, const char *const *list, size_t n, struct prop_err *err)
{
    int rc = put_number(out, n, err);

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = put_text(out, list[i], err);
    return rc;
}

int runner_spec_encode(const struct runner_spec *spec, struct prop_buf *out, struct prop_err *err)
{
    const struct prop_wasm_run *how = &spec->how;
    const uint64_t numbers[] = {how->limits.timeout_ms, how->limits.fuel,
                                how->limits.max_memory, how->limits.max_output,
                                how->limits.max_table,  how->limits.max_stack,
                                how->stdin_path != NULL, spec->run_verb, spec->component};
    const char *const texts[] = {how->name, how->invoke, spec->runtime};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(numbers); i++)
        rc = put_number(out, numbers[i], err);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(texts); i++)
        rc = put_text(out, texts[i], err);
    if (rc == 0)
        rc = put_list(out, how->args, how->n_args, err);
    return rc ? rc : put_list(out, how->env, how->n_env, err);
}

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static uint64_t get_number(struct reader *r)
{
    uint64_t v = 0;

    if (r->left < sizeof v) {
        r->bad = true;
        return 0;
    }
    memcpy(&v, r->at, sizeof v);
    r->at += sizeof v;
    r->left -= sizeof v;
    return v;
}

static const char *get_text(struct reader *r)
{
    uint64_t size = get_number(r); /* with the 0; 0 = no text */

    if (size == 0)
        return NULL;
    if (size > r->left || r->at[size - 1] != 0 || memchr(r->at, 0, (size_t)size - 1)) {
        r->bad = true;
        return NULL;
    }
    const char *text = (const char *)r->at;
    r->at += size;
    r->left -= (size_t)size;
    return text;
}

static void get_list(struct reader *r, struct runner_spec *spec, size_t *used, size_t *ret_n)
{
    uint64_t n = get_number(r);

    if (n > MAX_TEXTS - *used) {
        r->bad = true;
        return;
    }
    for (size_t i = 0; i < n && !r->bad; i++) {
        spec->texts[(*used)++] = get_text(r);
        r->bad = r->bad || !spec->texts[*used - 1];
    }
    *ret_n = (size_t)n;
}

static void get_head(struct reader *r, struct runner_spec *spec)
{
    struct prop_wasm_limits *l = &spec->how.limits;
    uint64_t *const numbers[] = {&l->timeout_ms, &l->fuel,      &l->max_memory,
                                 &l->max_output, &l->max_table, &l->max_stack};

    for (size_t i = 0; i < PROP_ARRAY_LEN(numbers); i++)
        *numbers[i] = get_number(r);
    spec->how.stdin_path = get_number(r) ? "-" : NULL;
    spec->run_verb = get_number(r) != 0;
    spec->component = get_number(r) != 0;
    spec->how.name = get_text(r);
    spec->how.invoke = get_text(r);
    spec->runtime = get_text(r);
}

int runner_spec_decode(const uint8_t *data, size_t len, struct runner_spec *ret,
                       struct prop_err *err)
{
    struct reader r = {data, len, false};
    struct runner_spec spec = {.texts = prop_zalloc(MAX_TEXTS * sizeof *spec.texts)};
    size_t used = 0;

    if (!spec.texts)
        return prop_err_nomem(err);
    get_head(&r, &spec);
    spec.how.args = spec.texts;
    get_list(&r, &spec, &used, &spec.how.n_args);
    spec.how.env = spec.texts + used;
    get_list(&r, &spec, &used, &spec.how.n_env);
    if (r.bad || r.left) {
        runner_spec_release(&spec);
        return prop_err_set(err, PROP_E_BUG, "a runner's request makes no sense");
    }
    *ret = spec;
    return 0;
}

void runner_spec_release(struct runner_spec *spec)
{
    prop_free(spec->texts);
    *spec = (struct runner_spec){.texts = NULL};
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Causes a child may name: an error's id is a static string of ours. */
static const char *const ids[] = {
    "not-wasm",       "wasm-invalid", "bad-argument", "no-export", "missing-import",
    "trap",           "fuel",         "memory",       "output",    "bad-env",
    "bad-dir",        "table",        "stack",        "no-sandbox", "no-engine",
    "compile-limit",  "external-runtime", "too-many",
};

void runner_answer_fill(struct runner_answer *a, const struct prop_err *err)
{
    a->magic = RUNNER_MAGIC;
    a->code = err->code;
    if (err->id)
        (void)prop_printable(err->id, strlen(err->id), a->id, sizeof a->id);
    memcpy(a->message, err->message, sizeof a->message);
    memcpy(a->hint, err->hint, sizeof a->hint);
}

int runner_answer_read(const struct runner_answer *a, struct prop_err *err)
{
    char message[sizeof a->message];
    char hint[sizeof a->hint];
    const char *id = NULL;

    if (a->magic != RUNNER_MAGIC || a->code > 0 || a->code < PROP_E_TRAP)
        return prop_err_set_id(err, PROP_E_TRAP, "crashed", "the module's process gave no answer");
    if (a->code == 0)
        return 0;
    for (size_t i = 0; i < PROP_ARRAY_LEN(ids); i++)
        if (strncmp(ids[i], a->id, sizeof a->id) == 0)
            id = ids[i];
    (void)prop_printable(a->message, strnlen(a->message, sizeof a->message - 1), message,
                         sizeof message);
    (void)prop_printable(a->hint, strnlen(a->hint, sizeof a->hint - 1), hint, sizeof hint);
    if (id)
        (void)prop_err_set_id(err, (enum prop_code)a->code, id, "%s", message);
    else
        (void)prop_err_set(err, (enum prop_code)a->code, "%s", message);
    if (hint[0])
        (void)prop_err_hint(err, "%s", hint);
    return a->code;
}
