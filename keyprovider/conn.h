/* One client of the gRPC service: its HTTP/2 session and the calls it has open. */
#ifndef PROP_KEYPROVIDER_CONN_H
#define PROP_KEYPROVIDER_CONN_H

#include "keyprovider/keyprovider.h"
#include "keyprovider/link.h"
#include "keyprovider/pot.h"
#include "keyprovider/worker.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PROP_KP_STREAMS = 32,        /* calls a connection may have open at once */
    PROP_KP_CALLS = 256,         /* calls of all connections */
    PROP_KP_RECEIVE_MS = 20000,  /* a request must be complete by then */
    PROP_KP_CALL_MS = 120000,    /* and answered by then, or by its own grpc-timeout */
    PROP_KP_STALL_MS = 20000,    /* a client that takes nothing of an answer */
    PROP_KP_HELLO_MS = 10000,    /* from connecting to the first call */
    PROP_KP_IDLE_MS = 300000     /* without a call, afterwards */
};
#define PROP_KP_SHORT (64u << 10)    /* a request or answer that always fits */
#define PROP_KP_HELD_MAX (64u << 20) /* bytes of all requests and answers */

/* What all connections share. */
struct prop_kp_shared {
    struct prop_kp_worker *worker;
    void (*log)(void *ctx, const char *line);
    void *log_ctx;
    size_t calls, held;
};

struct prop_kp_call;
struct prop_kp_conn {
    struct prop_kp_link link; /* first: it is the session's user data */
    struct prop_kp_shared *shared;
    struct prop_kp_call *calls;
    uint64_t since_ms;    /* when it connected */
    uint64_t progress_ms; /* when something last moved */
    bool met;             /* it made a call once */
    bool leaving;         /* GOAWAY was sent */
};

/* Takes the descriptor over, also on failure. */
int prop_kp_conn_new(int fd, struct prop_kp_shared *shared, struct prop_kp_conn **ret,
                     struct prop_err *err);
void prop_kp_conn_free(struct prop_kp_conn *c);
/* Its socket is ready for reading, for writing. -1: it is to be freed. */
int prop_kp_conn_io(struct prop_kp_conn *c, bool readable);
/* Let time pass: answer what is late, notice who is gone. -1: it is to be freed. ret_next: when it
 * wants to be asked again, if that is sooner. */
int prop_kp_conn_tick(struct prop_kp_conn *c, uint64_t now, uint64_t *ret_next);
/* No more calls after those it has: GOAWAY. */
void prop_kp_conn_leave(struct prop_kp_conn *c);
/* A job that came back: answered, unless nobody waits for it any more. Takes it over. The
 * connection it was for (which must write then), or NULL. */
struct prop_kp_conn *prop_kp_conn_answer(struct prop_kp_job *j);

#endif
