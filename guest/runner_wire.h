/* What a runner's two processes say to each other: messages over SOCK_SEQPACKET sockets with
 * descriptors beside them, and one text of bytes (the spec) for what has no fixed size.
 *
 * Caller to fork server, over the control socket: one RUNNER_HELLO, then requests. With each request
 * goes a socket of its own (RUNNER_FD_CTL), on which the server tells the child's start and end, and
 * whose closing by the caller is the child's end. The child itself has only pipes: its answer is
 * read as what a stranger wrote. */
#ifndef PROP_GUEST_RUNNER_WIRE_H
#define PROP_GUEST_RUNNER_WIRE_H

#include "engine/wasm.h"
#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUNNER_MAGIC 0x72706f72u
#define RUNNER_CONTROL_FD 3 /* in the fork server */
#define RUNNER_MAX_DIRS 16
#define RUNNER_MAX_FDS (RUNNER_MAX_DIRS + 1)

enum runner_what { RUNNER_HELLO = 1, RUNNER_COMPILE, RUNNER_RUN, RUNNER_EXTERNAL };

/* Descriptors of a request, in this order. */
enum runner_fd {
    RUNNER_FD_CTL,    /* socket: struct runner_event */
    RUNNER_FD_ANSWER, /* pipe: struct runner_answer, or what a library said before it died */
    RUNNER_FD_SPEC,   /* memfd */
    RUNNER_FD_MODULE, /* memfd: Wasm to compile; the artifact to run; Wasm for another program */
    RUNNER_FD_OUT,    /* memfd for the artifact; pipe for stdout */
    RUNNER_FD_ERR,    /* pipe for stderr; compile: the answer's once more */
    RUNNER_FD_IN,     /* stdin; only with has_stdin */
    RUNNER_N_FDS
};

struct runner_request {
    uint32_t magic;
    uint32_t what;       /* enum runner_what */
    uint64_t memory;     /* RLIMIT_DATA of the child */
    uint64_t cpu_ms;     /* RLIMIT_CPU of the child; 0 = none */
    uint8_t has_stdin;
    uint8_t component;   /* RUN: what the artifact is */
    uint8_t fuel;
    uint8_t external;    /* HELLO: children become other programs */
};

/* From the server. */
enum runner_event_kind { RUNNER_READY = 1, RUNNER_STARTED, RUNNER_ENDED };
struct runner_event {
    uint32_t magic;
    uint32_t kind;
    int32_t pid;         /* STARTED, with a pidfd beside it */
    int32_t status;      /* ENDED: as wait4() gives it */
    int32_t failed;      /* ENDED: errno of the fork that did not happen; READY: 0 */
    uint8_t network;     /* READY: the walls that stand (sandbox.h) */
    uint8_t files;
    uint8_t swap;        /* READY: its children's memory may reach a swap device */
    char message[768];   /* READY that is a failure: why, with `failed` the code */
};

/* From a child; nothing of it is believed before it was looked at. */
struct runner_answer {
    uint32_t magic;
    int32_t code;        /* 0 or enum prop_code */
    int32_t exit_status;
    uint8_t component;   /* COMPILE */
    uint8_t fuel;
    char id[40];
    char message[768];
    char hint[384];
};

/* Send or receive one message with descriptors. recv: *n_fds is the room on entry; received ones are
 * close-on-exec and the caller's; returns the bytes, 0 at the end, -1 with errno. */
int runner_send(int sock, const void *msg, size_t len, const int *fds, size_t n_fds, int flags);
ssize_t runner_recv(int sock, void *msg, size_t len, int *fds, size_t *n_fds, int flags);

/* The spec: strings and numbers of a run. decode borrows from `data`, which must outlive it. */
struct runner_spec {
    struct prop_wasm_run how;  /* its arrays are `texts`' */
    const char **texts;        /* owned */
    const char *runtime;       /* EXTERNAL: the program */
    bool run_verb;             /* and whether it wants "run" */
    bool component;            /* and what the module is */
};
int runner_spec_encode(const struct runner_spec *spec, struct prop_buf *out, struct prop_err *err);
int runner_spec_decode(const uint8_t *data, size_t len, struct runner_spec *ret,
                       struct prop_err *err);
void runner_spec_release(struct runner_spec *spec);

/* An error as an answer, and back: the id is looked up among ours, the texts are made printable.
 * Returns the code, 0 for none; PROP_E_TRAP (id "crashed") for an answer that makes no sense. */
void runner_answer_fill(struct runner_answer *a, const struct prop_err *err);
int runner_answer_read(const struct runner_answer *a, struct prop_err *err);

#endif
