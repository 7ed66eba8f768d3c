/* The caller's side of a runner, shared by its files. */
#ifndef PROP_GUEST_RUNNER_INTERNAL_H
#define PROP_GUEST_RUNNER_INTERNAL_H

#include "guest/runner.h"
#include "guest/runner_memfd.h"
#include "guest/runner_wire.h"
#include "util/buf.h"

#include <pthread.h>

struct prop_runner {
    pthread_mutex_t lock;     /* guards what is below, but for the configuration */
    int sock;                 /* control socket; -1 = no server */
    pid_t pid;                /* of the server, our child */
    bool ready;               /* its answer was read */
    char warning[256];
    /* configuration */
    uint64_t compile_memory, compile_ms;
    char *external;           /* NULL = the engine */
    char *names[RUNNER_MAX_DIRS];
    int dirs[RUNNER_MAX_DIRS];
    size_t n_dirs;
};

struct prop_program {
    atomic_uint refs;
    struct runner_memfd code; /* the artifact, or the module for another program */
    bool component, fuel, external, encrypted;
};

/* Send a request; the server is started again if it is gone. */
int runner_request(struct prop_runner *r, const struct runner_request *req, const int *fds,
                   size_t n_fds, struct prop_err *err);
/* Why the server went away: what it said at its start, or that it is gone. */
int runner_lost(struct prop_runner *r, struct prop_err *err);

/* One stream out of a child. */
struct runner_stream {
    int from;                 /* our end of the pipe; -1 = ended */
    int to;                   /* passed on to this descriptor; -1 = collected */
    uint64_t max, seen;       /* bytes */
    struct prop_buf *into;
    uint8_t *held;            /* read and not written yet */
    size_t held_at, held_len;
};

/* How a child's life went, seen from here. */
enum runner_end {
    RUNNER_BY_ITSELF,
    RUNNER_STOPPED,    /* prop_run_stop */
    RUNNER_SIGNALLED,  /* a signal asked our process to end */
    RUNNER_LATE,       /* its deadline */
    RUNNER_TALKATIVE,  /* wrote more than its limit */
    RUNNER_UNREAD,     /* nobody takes its output: `error` says why */
    RUNNER_GONE        /* the server ended, and it with it */
};

enum { RUNNER_ANSWER, RUNNER_OUT, RUNNER_ERR, RUNNER_STREAMS };

struct runner_child_job {
    const char *name;         /* of the module, in messages */
    int ctl;                  /* socket to the server */
    int pidfd;
    struct runner_stream streams[RUNNER_STREAMS];
    struct prop_buf answer;   /* bytes it wrote on the answer's pipe */
    struct prop_run_handle *handle;
    uint64_t timeout_ms;
    uint64_t deadline_ms;     /* of the monotonic clock; UINT64_MAX = none */
    bool external;            /* it became another program */
    enum runner_end end;
    int error;                /* errno of UNREAD, of a fork that failed */
    int status;               /* as wait4() gives it */
};

/* Wait for its end, moving its output; it is dead when this returns. */
void runner_watch(struct runner_child_job *j);
/* What its end means: 0 with the answer, or the error. `what`: "run", "compile". */
int runner_verdict(struct prop_runner *r, const struct runner_child_job *j,
                   struct runner_answer *ret, struct prop_err *err);

/* Between these two prop_run_stop reaches the run through `handle` (may be NULL); `begin` answers
 * false when it was stopped already. */
bool runner_handle_begin(struct prop_run_handle *handle);
void runner_handle_end(struct prop_run_handle *handle);

#endif
