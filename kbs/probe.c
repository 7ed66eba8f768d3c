/* Harmless questions. */
#include "kbs/probe.h"

#include "kbs/internal.h"
#include "util/mem.h"

#include <string.h>

int prop_kbs_probe_health(struct prop_kbs *k, int *ret_status, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *url = prop_asprintf("%s/healthz", k->url);
    if (!url)
        return prop_err_nomem(err);
    struct prop_http_request hr = { .method = "GET", .url = url, .max_body = PROP_LIMIT_ERROR_BODY,
                                    .idempotent = true };
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_kbs_do(k, &hr, &a, &local);
    if (rc < 0) {
        rc = prop_kbs_broken(PROP_KBS_GET_POLICY, rc, &local);
        if (err)
            *err = local;
        return rc;
    }
    prop_kbs_note_clock(k, &a);
    *ret_status = a.status;
    return 0;
}

int prop_kbs_probe_policy(struct prop_kbs *k, bool as_admin, enum prop_kbs_policy_answer *ret,
                          struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_kbs_request rq = { .call = PROP_KBS_GET_POLICY, .method = "GET",
                                   .path = "/resource-policy" };
    int rc = as_admin ? prop_kbs_get_policy(k, &text, err) : prop_kbs_send(k, &rq, &a, err);
    if (rc < 0)
        return rc;
    const char *body = prop_buf_str(as_admin ? &text : &a.body);
    *ret = body[strspn(body, " \t\r\n")] == '[' ? PROP_KBS_POLICY_LIST : PROP_KBS_POLICY_TEXT;
    return 0;
}

bool prop_kbs_clock_ahead(const struct prop_kbs *k, long *ret)
{
    if (k->clock_known)
        *ret = k->clock_ahead_s;
    return k->clock_known;
}

const struct prop_http_tls *prop_kbs_tls(const struct prop_kbs *k)
{
    return prop_http_tls(k->http);
}
