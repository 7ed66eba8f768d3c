/* The thread that does what a provider does, one call after the other.
 *
 * One, not one per call: a provider keeps a session with its key broker and a ledger, which belong
 * to one thread; a call that is not waiting for the network takes less than a millisecond, and all
 * calls would wait for the same broker. The loop that serves connections never waits for it: calls
 * queue, and are given up at their deadline whether they run or not. */
#ifndef PROP_KEYPROVIDER_WORKER_H
#define PROP_KEYPROVIDER_WORKER_H

#include "keyprovider/keyprovider.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>

struct prop_kp_job {
    enum prop_kp_op op;
    struct prop_secret *request; /* gRPC message; owned */
    struct prop_secret *reply;   /* gRPC message when rc is 0; owned */
    int rc;
    struct prop_err err;
    void *owner;                 /* the submitter's; NULL: nobody wants the result any more */
    struct prop_kp_job *next;
};
void prop_kp_job_free(struct prop_kp_job *j);

struct prop_kp_worker;
/* `p` must outlive the worker. Signals are left to the other threads. */
int prop_kp_worker_start(const struct prop_kp_provider *p, struct prop_kp_worker **ret,
                         struct prop_err *err);
/* Readable when a job is done. */
int prop_kp_worker_fd(const struct prop_kp_worker *w);
/* Queue a job; the worker owns it until it comes back through done or withdraw. */
void prop_kp_worker_submit(struct prop_kp_worker *w, struct prop_kp_job *j);
/* Take a job back. false: it is being worked on, and comes back through done. */
bool prop_kp_worker_withdraw(struct prop_kp_worker *w, struct prop_kp_job *j);
/* The next finished job, the caller's again; NULL when there is none. */
struct prop_kp_job *prop_kp_worker_done(struct prop_kp_worker *w);
/* End after the job at hand; what still waits is dropped. NULL is fine. */
void prop_kp_worker_stop(struct prop_kp_worker *w);

#endif
