/* Beginning and end of a run's state, and telling what happens. */
#include "publish/state.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void policy_init(struct prop_publish_policy *p)
{
    memset(p, 0, sizeof *p);
    p->rego = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_POLICY);
    p->document = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_POLICY);
    p->plain = (struct prop_buf)PROP_BUF_INIT(2 * PROP_LIMIT_POLICY);
}

void prop_publish_policy_release(struct prop_publish_policy *p)
{
    prop_buf_release(&p->rego);
    prop_buf_release(&p->document);
    prop_buf_release(&p->plain);
    prop_free(p->file);
    policy_init(p);
}

int prop_publish_state_init(struct prop_publish_state *s, const struct prop_publish *p,
                            struct prop_err *err)
{
    memset(s, 0, sizeof *s);
    s->p = p;
    policy_init(&s->policy);
    s->begun_ms = s->step_ms = prop_now_ms();
    s->entries = json_object();
    s->pending = json_array();
    s->steps = json_array();
    s->sent = json_array();
    s->proof = json_object();
    return s->entries != NULL && s->pending != NULL && s->steps != NULL && s->proof != NULL &&
                   s->sent != NULL
               ? 0
               : prop_err_nomem(err);
}

void prop_publish_state_release(struct prop_publish_state *s)
{
    prop_src_free(s->src);
    prop_dst_free(s->dst);
    prop_ledger_close(s->ledger);
    prop_journal_close(s->journal);
    prop_free(s->target);
    json_decref(s->plan);
    json_decref(s->entries);
    json_decref(s->pending);
    prop_free(s->server_policy);
    prop_images_release(&s->present);
    prop_secret_free(s->kek);
    prop_free(s->kek_path);
    prop_free(s->kid_path);
    prop_free(s->kid_uri);
    json_decref(s->measured);
    json_decref(s->rules);
    prop_publish_policy_release(&s->policy);
    prop_recipients_free(s->recipients);
    json_decref(s->sent);
    json_decref(s->steps);
    json_decref(s->proof);
}

int prop_publish_step(struct prop_publish_state *s, struct prop_err *err, const char *name,
                      const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    uint64_t now = prop_now_ms();
    if (json_array_append_new(s->steps, json_pack("{s:s, s:s, s:I}", "step", name, "text", text, "ms",
                                                  (json_int_t)(now - s->step_ms))) != 0)
        return prop_err_nomem(err);
    s->step_ms = now;
    if (s->p->step != NULL)
        s->p->step(s->p->ctx, text);
    return 0;
}

void prop_publish_warn(const struct prop_publish_state *s, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    if (s->p->warn == NULL)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->p->warn(s->p->ctx, text);
}

int prop_publish_proved(struct prop_publish_state *s, const char *name, const char *text,
                        struct prop_err *err)
{
    return json_object_set_new(s->proof, name, json_string(text)) == 0 ? 0 : prop_err_nomem(err);
}

bool prop_publish_is_index(const struct prop_publish_state *s)
{
    char digest[PROP_DIGEST_TEXT];
    const char *first =
        json_string_value(json_object_get(json_array_get(s->sent, 0), "digest"));
    return first != NULL && strcmp(first, prop_digest_format(&s->image.manifest, digest)) != 0;
}

bool prop_publish_is_loopback(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    size_t len = strcspn(host, "/?#");
    if (memchr(host, '@', len) != NULL)
        return false;
    if (host[0] == '[')
        return len >= 5 && strncmp(host, "[::1]", 5) == 0 && (len == 5 || host[5] == ':');
    len = strcspn(host, ":/?#");
    char name[64];
    if (len >= sizeof name)
        return false;
    memcpy(name, host, len);
    name[len] = 0;
    struct in_addr addr;
    return strcmp(name, "localhost") == 0 ||
           (inet_pton(AF_INET, name, &addr) == 1 && (ntohl(addr.s_addr) >> 24) == 127);
}
