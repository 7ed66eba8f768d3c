/* One list in the order of arrival. */
#include "guest/outbox.h"

#include <pthread.h>
#include <string.h>

#include "util/mem.h"

#define LABEL_MAX 600
#define POISON_TRIES 3          /* connections that broke over one message */
#define POISON_BYTES (64u << 10) /* smaller ones are never blamed */

struct message {
    struct message *next;
    const char *topic;
    char label[LABEL_MAX];
    char *payload;
    size_t len;
    uint64_t due_ms;
    int mid;
    bool sent;
    unsigned tries; /* connections it was sent on that broke */
};

struct prop_outbox {
    struct prop_outbox_config c;
    pthread_mutex_t lock;
    struct message *first, **end;
    size_t count, bytes;
    unsigned under_way;
};

int prop_outbox_new(const struct prop_outbox_config *config, struct prop_outbox **ret,
                    struct prop_err *err)
{
    struct prop_outbox *o = prop_zalloc(sizeof *o);

    if (!o)
        return prop_err_nomem(err);
    o->c = *config;
    o->end = &o->first;
    (void)pthread_mutex_init(&o->lock, NULL);
    *ret = o;
    return 0;
}

static void message_free(struct message *m)
{
    prop_free(m->payload);
    prop_free(m);
}

void prop_outbox_free(struct prop_outbox *o)
{
    if (!o)
        return;
    while (o->first) {
        struct message *next = o->first->next;
        message_free(o->first);
        o->first = next;
    }
    (void)pthread_mutex_destroy(&o->lock);
    prop_free(o);
}

/* Take one out of the list. */
static struct message *unlink_at(struct prop_outbox *o, struct message **at)
{
    struct message *m = *at;

    *at = m->next;
    if (o->end == &m->next)
        o->end = at;
    o->count--;
    o->bytes -= m->len;
    if (m->sent)
        o->under_way--;
    return m;
}

static void finish(struct prop_outbox *o, struct message *m, bool lost)
{
    o->c.done(o->c.ctx, m->label, lost);
    message_free(m);
}

int prop_outbox_add(struct prop_outbox *o, const char *topic, const char *label, char *payload,
                    uint64_t due_ms, struct prop_err *err)
{
    struct message *m = prop_zalloc(sizeof *m);
    struct message *dropped = NULL;

    if (!m) {
        prop_free(payload);
        return prop_err_nomem(err);
    }
    m->topic = topic;
    m->payload = payload;
    m->len = strlen(payload);
    m->due_ms = due_ms;
    size_t n = strnlen(label, LABEL_MAX - 1);
    memcpy(m->label, label, n);
    (void)pthread_mutex_lock(&o->lock);
    while (o->first && (o->count >= o->c.max_count || o->bytes + m->len > o->c.max_bytes)) {
        struct message *old = unlink_at(o, &o->first);
        old->next = dropped;
        dropped = old;
    }
    *o->end = m;
    o->end = &m->next;
    o->count++;
    o->bytes += m->len;
    (void)pthread_mutex_unlock(&o->lock);
    while (dropped) {
        struct message *next = dropped->next;
        finish(o, dropped, true);
        dropped = next;
    }
    o->c.wake(o->c.ctx);
    return 0;
}

/* A message that broke its connections goes alone, so that it is known which one did; and at last
 * something shorter goes in its place. */
static bool is_suspect(const struct message *m)
{
    return m->tries > 0 && m->len > POISON_BYTES;
}

static void replace(struct prop_outbox *o, struct message *m)
{
    char *other = o->c.replace(o->c.ctx, m->label, m->len);

    if (!other)
        return;
    o->bytes -= m->len;
    prop_free(m->payload);
    m->payload = other;
    m->len = strlen(other);
    o->bytes += m->len;
    m->tries = 0;
}

/* Hand over the first that is due; false when there is none, or none can be sent. */
static bool send_one(struct prop_outbox *o, uint64_t now_ms, uint64_t *next_ms)
{
    struct message **at = &o->first;

    while (*at && ((*at)->sent || (*at)->due_ms > now_ms)) {
        if (!(*at)->sent && (*at)->due_ms < *next_ms)
            *next_ms = (*at)->due_ms;
        at = &(*at)->next;
    }
    struct message *m = *at;
    if (!m || o->under_way >= o->c.window || (is_suspect(m) && o->under_way > 0))
        return false;
    if (is_suspect(m) && m->tries >= POISON_TRIES)
        replace(o, m);
    if (o->c.send(o->c.ctx, m->topic, m->payload, m->len, &m->mid, NULL) != 0)
        return false; /* not connected: woken when that changes */
    m->sent = true;
    o->under_way++;
    return !is_suspect(m);
}

/* Numbers are given and told under one lock, so that no acknowledgement comes before its number. */
uint64_t prop_outbox_pump(struct prop_outbox *o, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;

    (void)pthread_mutex_lock(&o->lock);
    while (send_one(o, now_ms, &next_ms))
        ;
    (void)pthread_mutex_unlock(&o->lock);
    return next_ms;
}

void prop_outbox_published(struct prop_outbox *o, int mid)
{
    struct message *m = NULL;

    (void)pthread_mutex_lock(&o->lock);
    for (struct message **at = &o->first; *at && !m;)
        if ((*at)->sent && (*at)->mid == mid)
            m = unlink_at(o, at);
        else
            at = &(*at)->next;
    (void)pthread_mutex_unlock(&o->lock);
    if (m)
        finish(o, m, false);
    o->c.wake(o->c.ctx);
}

void prop_outbox_lost(struct prop_outbox *o)
{
    (void)pthread_mutex_lock(&o->lock);
    for (struct message *m = o->first; m; m = m->next) {
        if (!m->sent)
            continue;
        m->sent = false;
        m->tries++;
    }
    o->under_way = 0;
    (void)pthread_mutex_unlock(&o->lock);
}

size_t prop_outbox_count(struct prop_outbox *o)
{
    (void)pthread_mutex_lock(&o->lock);
    size_t n = o->count;
    (void)pthread_mutex_unlock(&o->lock);
    return n;
}
