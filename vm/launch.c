#include "vm/launch.h"

#include "util/file.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"
#include "vm/child.h"
#include "vm/guestdir.h"
#include "vm/lines.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE (64u << 10)
#define TICK_MS 200    /* how often a stop that came without a signal to us is looked for */
#define QUIT_MS 3000   /* how long QEMU may take to end when it is told to */
#define LEAVE_MS 10000 /* between its last word and its end */

enum { FROM_CONSOLE, FROM_QEMU, FROM_QMP, FROM_RESULT, FROM_LOG, N_FROM };

struct vm {
    struct prop_child child;
    const struct prop_vm_ears *ears;
    int fd[N_FROM];               /* -1 = closed */
    struct prop_lines lines[N_FROM];
    struct prop_vm_end end;
    bool end_reported;            /* over the channel of results, which the workload cannot write to */
    char complaint[400];          /* the last thing QEMU itself said that was no warning */
    bool stopping;                /* what the ears say does not matter any more */
};

/* ---- what it says --------------------------------------------------------------------------- */

struct end_members {
    json_int_t status, uptime;
    json_t *error;
};
struct why_members {
    const char *code, *message;
};
static const struct prop_json_field top_fields[] = {
    { "status", PROP_JSON_INT, offsetof(struct end_members, status), PROP_JSON_REQUIRED },
    { "uptime_ms", PROP_JSON_INT, offsetof(struct end_members, uptime), 0 },
    { "error", PROP_JSON_OBJECT, offsetof(struct end_members, error), PROP_JSON_NULLABLE },
};
static const struct prop_json_field why_fields[] = {
    { "code", PROP_JSON_STRING, offsetof(struct why_members, code), 0 },
    { "message", PROP_JSON_STRING, offsetof(struct why_members, message), 0 },
};

static bool read_end(const json_t *doc, struct prop_vm_end *ret)
{
    struct end_members top = { -1, 0, NULL };
    struct why_members why = { "", "" };

    if (prop_json_read(doc, "end", top_fields, PROP_ARRAY_LEN(top_fields), &top, NULL) ||
        top.status < 0 || top.status > 255)
        return false;
    if (top.error && prop_json_read(top.error, "error", why_fields, PROP_ARRAY_LEN(why_fields), &why,
                                    NULL))
        return false;
    ret->said = true;
    ret->status = (int)top.status;
    ret->uptime_ms = top.uptime > 0 ? (uint64_t)top.uptime : 0;
    (void)prop_printable(why.code, strlen(why.code), ret->code, sizeof ret->code);
    (void)prop_printable(why.message, strlen(why.message), ret->message, sizeof ret->message);
    return true;
}

bool prop_vm_end_parse(const char *line, size_t len, struct prop_vm_end *ret)
{
    const size_t skip = strlen(PROP_GUEST_END_PREFIX);
    prop_auto_json json_t *doc = NULL;

    return len > skip && memcmp(line, PROP_GUEST_END_PREFIX, skip) == 0 &&
           prop_json_parse(line + skip, len - skip, "the guest's last line", &doc, NULL) == 0 &&
           read_end(doc, ret);
}

static int console_line(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err)
{
    struct vm *v = ctx;

    (void)cut;
    (void)err;
    if (!v->end_reported)
        (void)prop_vm_end_parse(line, len, &v->end);
    return 0;
}

static int qemu_line(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err)
{
    struct vm *v = ctx;

    (void)cut;
    (void)err;
    if (len > 0 && !strstr(line, ": warning: "))
        (void)prop_printable(line, len, v->complaint, sizeof v->complaint);
    return 0;
}

static int log_line(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err)
{
    struct vm *v = ctx;

    (void)cut;
    return v->ears->log ? v->ears->log(v->ears->ctx, line, len, err) : 0;
}

/* {"end":{...}} and nothing else: the results of `run` have other members. */
static bool is_end(const char *line, size_t len, struct prop_vm_end *ret)
{
    static const char start[] = "{\"" PROP_REPORT_END "\":";
    prop_auto_json json_t *doc = NULL;

    return len > sizeof start && memcmp(line, start, sizeof start - 1) == 0 &&
           prop_json_parse(line, len, "the guest's last line", &doc, NULL) == 0 &&
           json_object_size(doc) == 1 && read_end(json_object_get(doc, PROP_REPORT_END), ret);
}

static int result_line(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err)
{
    struct vm *v = ctx;

    if (cut)
        return prop_err_set_id(err, PROP_E_LIMIT, "result-too-large",
                               "the guest's result is longer than %u bytes", PROP_VM_RESULT_MAX);
    if (is_end(line, len, &v->end)) {
        v->end_reported = true;
        return 0;
    }
    return v->ears->result && len > 0 ? v->ears->result(v->ears->ctx, line, len, err) : 0;
}

static int ignored_line(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err)
{
    (void)ctx;
    (void)line;
    (void)len;
    (void)cut;
    (void)err;
    return 0;
}

static prop_line_fn *const line_fns[N_FROM] = { console_line, qemu_line, ignored_line, result_line,
                                                log_line };

/* One piece from one of them; -1 closes it. */
static int hear(struct vm *v, int from, char *piece, struct prop_err *err)
{
    ssize_t n = read(v->fd[from], piece, PIECE);
    int rc = 0;

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n > 0 && from == FROM_CONSOLE && v->ears->console && !v->stopping)
        rc = v->ears->console(v->ears->ctx, piece, (size_t)n, err);
    if (rc == 0)
        rc = n > 0 ? prop_lines_feed(&v->lines[from], piece, (size_t)n, line_fns[from], v, err) :
                     prop_lines_end(&v->lines[from], line_fns[from], v, err);
    if (n <= 0) {
        (void)close(v->fd[from]);
        v->fd[from] = -1;
    }
    return rc;
}

/* Listen to all of them for at most `ms`; ret_open: some are still open. */
static int listen_once(struct vm *v, int ms, bool *ret_open, char *piece, struct prop_err *err)
{
    struct pollfd p[N_FROM];
    int rc = 0;

    *ret_open = false;
    for (int i = 0; i < N_FROM; i++) {
        p[i] = (struct pollfd){ v->fd[i], POLLIN, 0 }; /* -1 is passed over */
        *ret_open = *ret_open || v->fd[i] >= 0;
    }
    if (*ret_open && poll(p, N_FROM, ms) > 0)
        for (int i = 0; rc == 0 && i < N_FROM; i++)
            if (p[i].fd >= 0 && p[i].revents)
                rc = hear(v, i, piece, err);
    return rc;
}

/* ---- starting ------------------------------------------------------------------------------- */

static void qmp(struct vm *v, const char *command)
{
    char text[80];
    int n = snprintf(text, sizeof text, "{\"execute\":\"%s\"}\n", command);

    if (v->fd[FROM_QMP] >= 0) /* one that does not listen any more is killed in the end */
        (void)send(v->fd[FROM_QMP], text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int start(struct vm *v, const struct prop_argv *argv, struct prop_err *err)
{
    static const int from_of[] = { FROM_QMP, FROM_RESULT, FROM_LOG }; /* descriptors 3, 4, 5 */
    int theirs[] = { -1, -1, -1 };
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(theirs); i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
            rc = prop_err_sys(err, PROP_E_IO, "make a pair of sockets");
        } else {
            v->fd[from_of[i]] = pair[0];
            theirs[i] = pair[1];
        }
    }
    if (rc == 0)
        rc = prop_child_start((const char *const *)(void *)argv->items, theirs,
                              PROP_ARRAY_LEN(theirs), &v->child, err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(theirs); i++)
        prop_close_fd_p(&theirs[i]);
    if (rc)
        return rc;
    v->fd[FROM_CONSOLE] = v->child.out;
    v->fd[FROM_QEMU] = v->child.err;
    v->child.out = v->child.err = -1;
    qmp(v, "qmp_capabilities");
    return 0;
}

/* ---- ending --------------------------------------------------------------------------------- */

static void listen_until(struct vm *v, uint64_t ms, char *piece)
{
    const uint64_t until = prop_now_ms() + ms;
    struct prop_err ignored = PROP_ERR_INIT;

    for (bool open = true; open && prop_now_ms() < until;)
        (void)listen_once(v, TICK_MS, &open, piece, &ignored);
}

/* End a VM that runs: ask the guest where it has something to lose, tell QEMU, kill. */
static void end_vm(struct vm *v, uint64_t powerdown_ms, char *piece)
{
    if (powerdown_ms && !prop_child_ended(&v->child, 0)) {
        qmp(v, "system_powerdown");
        listen_until(v, powerdown_ms, piece);
    }
    v->stopping = true;
    if (!prop_child_ended(&v->child, 0)) {
        qmp(v, "quit");
        listen_until(v, QUIT_MS, piece);
    }
    prop_child_kill(&v->child);
}

/* QEMU ended by itself: how? */
static int judge(struct vm *v, struct prop_err *err)
{
    const int status = v->child.status;

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status))
        return prop_err_set_id(err, PROP_E_IO, "vm-killed", "the VM was killed by signal %d%s%s",
                               WTERMSIG(status), v->complaint[0] ? ": " : "", v->complaint);
    if (strstr(v->complaint, "host forwarding rule")) {
        (void)prop_err_set_id(err, PROP_E_EXISTS, "port-in-use", "QEMU: %s", v->complaint);
        return prop_err_hint(err, "forward another port; 0:GUEST takes any free one");
    }
    if (strstr(v->complaint, "cannot set up guest memory") ||
        strstr(v->complaint, "Cannot allocate memory")) {
        (void)prop_err_set_id(err, PROP_E_NOMEM, "vm-memory", "QEMU: %s", v->complaint);
        return prop_err_hint(err, "give the guest less with --memory");
    }
    (void)prop_err_set_id(err, PROP_E_IO, "qemu-failed", "QEMU ended with status %d: %s",
                          WEXITSTATUS(status), v->complaint[0] ? v->complaint : "it did not say why");
    return prop_err_hint(err, "--dry-run prints the arguments it was given");
}

static int listen_all(struct vm *v, const struct prop_vm_launch *l, char *piece,
                      struct prop_err *err)
{
    const uint64_t until = l->timeout_ms ? prop_now_ms() + l->timeout_ms : UINT64_MAX;
    bool open = true;
    int rc = 0;

    while (rc == 0 && open) {
        rc = prop_stop_check(err);
        if (rc == 0 && prop_now_ms() >= until)
            rc = prop_err_set_id(err, PROP_E_TIMEOUT, "vm-timeout",
                                 "the VM did not end within %llu ms",
                                 (unsigned long long)l->timeout_ms);
        if (rc == 0)
            rc = listen_once(v, TICK_MS, &open, piece, err);
    }
    return rc;
}

int prop_vm_launch(const struct prop_vm_launch *l, struct prop_vm_end *ret, struct prop_err *err)
{
    struct vm v = { .child = PROP_CHILD_INIT, .ears = l->ears, .fd = { -1, -1, -1, -1, -1 } };
    prop_auto_free char *piece = prop_alloc_pages(PIECE);
    const uint64_t began = prop_now_ms();
    int rc = piece ? 0 : prop_err_nomem(err);

    for (int i = 0; i < N_FROM; i++)
        v.lines[i] = (struct prop_lines)PROP_LINES_INIT(
            i == FROM_RESULT ? PROP_VM_RESULT_MAX : PROP_VM_LINE_MAX);
    if (rc == 0)
        rc = start(&v, l->argv, err);
    if (rc == 0) {
        rc = listen_all(&v, l, piece, err);
        if (rc == 0 && prop_child_ended(&v.child, LEAVE_MS))
            rc = judge(&v, err);
        else if (rc)
            end_vm(&v, l->powerdown_ms, piece);
    }
    prop_child_kill(&v.child);
    for (int i = 0; i < N_FROM; i++) {
        prop_close_fd_p(&v.fd[i]);
        prop_lines_release(&v.lines[i]);
    }
    if (rc == 0) {
        *ret = v.end;
        ret->wall_ms = prop_now_ms() - began;
    }
    return rc;
}
