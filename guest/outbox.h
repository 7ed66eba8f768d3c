/* What is to be published and must not be lost: kept until the broker has taken it over, through lost
 * connections, in order, bounded. Each message may be held back until a time of its own. */
#ifndef PROP_GUEST_OUTBOX_H
#define PROP_GUEST_OUTBOX_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_outbox_config {
    size_t max_count;   /* messages kept at most; the oldest goes when one more comes */
    size_t max_bytes;
    unsigned window;    /* handed over and not yet acknowledged, at most */
    /* Hand a message over; ret_mid is its number. */
    int (*send)(void *ctx, const char *topic, const char *payload, size_t len, int *ret_mid,
                struct prop_err *err);
    /* What became of a message: the broker has it, or (`lost`) it had to be dropped. `label` is what
     * prop_outbox_add was given. Called without a lock held. */
    void (*done)(void *ctx, const char *label, bool lost);
    /* A message that the broker does not take (the connection breaks over it, again and again): what
     * to send in its place; owned, NULL = nothing. */
    char *(*replace)(void *ctx, const char *label, size_t len);
    /* Something is to do: prop_outbox_pump ought to be called. May be called with a lock held. */
    void (*wake)(void *ctx);
    void *ctx;
};

struct prop_outbox;
int prop_outbox_new(const struct prop_outbox_config *config, struct prop_outbox **ret,
                    struct prop_err *err);
void prop_outbox_free(struct prop_outbox *o);
/* Take a message over: `payload` is the outbox's from now on, also on failure (PROP_E_NOMEM). `topic`
 * is borrowed for good. Not sent before `due_ms` (prop_now_ms). */
int prop_outbox_add(struct prop_outbox *o, const char *topic, const char *label, char *payload,
                    uint64_t due_ms, struct prop_err *err);
/* Send what is due. Returns when to call again (prop_now_ms), UINT64_MAX = when woken. */
uint64_t prop_outbox_pump(struct prop_outbox *o, uint64_t now_ms);
/* The broker has taken over the message of that number. */
void prop_outbox_published(struct prop_outbox *o, int mid);
/* The connection is gone: what was not acknowledged is sent again later. */
void prop_outbox_lost(struct prop_outbox *o);
size_t prop_outbox_count(struct prop_outbox *o);

#endif
