/* What a child's end means. Nothing it said is believed where how it died says otherwise. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "guest/runner_internal.h"
#include "util/stop.h"
#include "util/text.h"

static int by_us(struct prop_runner *r, const struct runner_child_job *j, struct prop_err *err)
{
    switch (j->end) {
    case RUNNER_STOPPED:
        return prop_err_set_id(err, PROP_E_INTERRUPTED, "stopped", "'%s' was stopped", j->name);
    case RUNNER_SIGNALLED:
        (void)prop_stop_check(err);
        return PROP_E_INTERRUPTED;
    case RUNNER_LATE:
        prop_err_set_id(err, PROP_E_TIMEOUT, "deadline", "'%s' ran longer than %llu ms", j->name,
                        (unsigned long long)j->timeout_ms);
        return prop_err_hint(err, "give it more time with --timeout");
    case RUNNER_TALKATIVE:
        prop_err_set_id(err, PROP_E_LIMIT, "output", "'%s' wrote more than %llu bytes", j->name,
                        (unsigned long long)j->streams[RUNNER_OUT].max);
        return prop_err_hint(err, "allow more with --max-output");
    case RUNNER_UNREAD:
        errno = j->error;
        return prop_err_sys(err, PROP_E_IO, "write what '%s' prints", j->name);
    case RUNNER_GONE:
        return runner_lost(r, err);
    case RUNNER_BY_ITSELF:
    default:
        return 0;
    }
}

/* A process that got no memory says so on its last breath (Rust's words, and the C library's). */
static bool lacked_memory(const struct runner_child_job *j)
{
    const char *said = prop_buf_str(&j->answer);

    return strstr(said, "memory allocation of") || strstr(said, "out of memory") ||
           strstr(said, "Cannot allocate memory");
}

static int out_of_memory(const struct runner_child_job *j, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_LIMIT, "memory", "'%s' and its engine took more memory than they "
                    "may have", j->name);
    return prop_err_hint(err, "allow more with --max-memory");
}

static int by_signal(const struct runner_child_job *j, int number, struct prop_err *err)
{
    char said[200];
    const char *name = strsignal(number);

    if (number == SIGXCPU)
        return prop_err_set_id(err, PROP_E_TIMEOUT, "deadline",
                               "'%s' took more processor time than its deadline leaves room for",
                               j->name);
    if (number == SIGKILL || lacked_memory(j)) /* not by us: the kernel, short of memory */
        return out_of_memory(j, err);
    if (number == SIGSYS)
        return prop_err_set_id(err, PROP_E_TRAP, "crashed",
                               "'%s' was ended: its process asked for a forbidden system call",
                               j->name);
    (void)prop_printable((const char *)j->answer.data, j->answer.len, said, sizeof said);
    return prop_err_set_id(err, PROP_E_TRAP, "crashed", "the process of '%s' died: %s%s%s", j->name,
                           name ? name : "signal", said[0] ? ": " : "", said);
}

/* The answer is the last it wrote: a library may have talked before. */
static bool find_answer(const struct runner_child_job *j, struct runner_answer *a)
{
    if (j->answer.len < sizeof *a)
        return false;
    memcpy(a, j->answer.data + j->answer.len - sizeof *a, sizeof *a);
    return a->magic == RUNNER_MAGIC;
}

int runner_verdict(struct prop_runner *r, const struct runner_child_job *j,
                   struct runner_answer *ret, struct prop_err *err)
{
    struct runner_answer a;
    int rc = by_us(r, j, err);

    if (rc)
        return rc;
    if (j->error) {
        errno = j->error;
        return prop_err_sys(err, PROP_E_NOMEM, "start a process for '%s'", j->name);
    }
    if (WIFSIGNALED(j->status))
        return by_signal(j, WTERMSIG(j->status), err);
    memset(&a, 0, sizeof a);
    bool answered = find_answer(j, &a);
    if (j->external && !answered) { /* the program it became has a status only */
        ret->exit_status = WEXITSTATUS(j->status);
        return 0;
    }
    rc = runner_answer_read(&a, err);
    if (rc == PROP_E_NOMEM)
        return out_of_memory(j, err);
    if (rc == 0)
        *ret = a;
    return rc;
}
