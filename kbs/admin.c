/* The admin API: resources, policies, reference values. */
#include "kbs/internal.h"

#include "util/encode.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

enum { LEEWAY_S = 60 };

/* A refusal of the administrator, with what we know of the token that the server does not say. */
static void explain_admin(const struct prop_kbs *k, struct prop_err *err)
{
    if (!err || err->code != PROP_E_AUTH || !err->id || !prop_starts_with(err->id, "admin-auth"))
        return;
    if (!k->admin_key && k->token_exp && k->token_exp + LEEWAY_S < prop_wall_time()) {
        char when[21];
        prop_rfc3339(k->token_exp, when);
        err->hint[0] = 0;
        (void)prop_err_hint(err, "the admin token expired at %s: get a new one", when);
    }
}

static int admin_send(struct prop_kbs *k, struct prop_kbs_request *rq, struct prop_http_answer *a,
                      struct prop_err *err)
{
    int rc = prop_kbs_bearer(k, &rq->authorization, err);
    if (rc == 0) {
        rc = prop_kbs_send(k, rq, a, err);
        if (rc < 0)
            explain_admin(k, err);
    }
    return rc;
}

/* A KBS answers a change with 200 and nothing else (kbs.md 1); a page of text is somebody else's. */
static int check_empty(const struct prop_kbs *k, const struct prop_http_answer *a,
                       struct prop_err *err)
{
    if (a->body.len == 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_REMOTE, "not-a-kbs",
                          "%s answers %d with a text, which a key broker does not",
                          prop_kbs_url(k), a->status);
    return prop_err_hint(err, "is that the key broker's address?");
}

int prop_kbs_set_resource(struct prop_kbs *k, const struct prop_resource_id *id,
                          const struct prop_secret *value, struct prop_err *err)
{
    prop_auto_free char *path = NULL;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    if (prop_secret_len(value) > PROP_LIMIT_KBS_BODY) {
        prop_err_set_id(err, PROP_E_LIMIT, "resource-too-big",
                        "the resource has %zu bytes, a key broker takes %u",
                        prop_secret_len(value), PROP_LIMIT_KBS_BODY);
        return prop_err_hint(err, "encrypt large data with a key, and upload the key");
    }
    int rc = prop_kbs_resource_path(k, id, &path, err);
    if (rc < 0)
        return rc;
    struct prop_kbs_request rq = {
        .call = PROP_KBS_SET_RESOURCE,
        .method = "POST",
        .path = path,
        .content_type = "application/octet-stream",
        .body = prop_secret_data(value),
        .body_len = prop_secret_len(value),
    };
    rc = admin_send(k, &rq, &a, err);
    if (rc == 0)
        rc = check_empty(k, &a, err);
    return PROP_KBS_WRAP(rc, err, "set '%s/%s/%s'", id->repo, id->type, id->tag);
}

int prop_kbs_delete_resource(struct prop_kbs *k, const struct prop_resource_id *id,
                             struct prop_err *err)
{
    prop_auto_free char *path = NULL;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    int rc = prop_kbs_resource_path(k, id, &path, err);
    if (rc < 0)
        return rc;
    struct prop_kbs_request rq = { .call = PROP_KBS_DELETE_RESOURCE, .method = "DELETE",
                                   .path = path };
    rc = admin_send(k, &rq, &a, err);
    return PROP_KBS_WRAP(rc, err, "delete '%s/%s/%s'", id->repo, id->type, id->tag);
}

/* POST one JSON object. */
static int post_json(struct prop_kbs *k, enum prop_kbs_call call, const char *path,
                     const json_t *body, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *text = body ? prop_json_compact(body) : NULL;
    if (!text)
        return prop_err_nomem(err);
    struct prop_kbs_request rq = {
        .call = call,
        .method = "POST",
        .path = path,
        .content_type = "application/json",
        .body = text,
        .body_len = strlen(text),
    };
    int rc = admin_send(k, &rq, &a, err);
    return rc == 0 ? check_empty(k, &a, err) : rc;
}

static int policy_text(const char *rego, size_t len, char **ret, struct prop_err *err)
{
    if (len > PROP_LIMIT_POLICY)
        return prop_err_set_id(err, PROP_E_LIMIT, "policy-too-big",
                               "the policy has %zu bytes, %u is the most", len, PROP_LIMIT_POLICY);
    *ret = prop_b64_encode(PROP_B64_URL, rego, len);
    return *ret ? 0 : prop_err_nomem(err);
}

int prop_kbs_set_policy(struct prop_kbs *k, const char *rego, size_t len, struct prop_err *err)
{
    prop_auto_free char *b64 = NULL;
    int rc = policy_text(rego, len, &b64, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *body = json_pack("{s:s}", "policy", b64);
    rc = post_json(k, PROP_KBS_SET_POLICY, "/resource-policy", body, err);
    return PROP_KBS_WRAP(rc, err, "set the resource policy");
}

int prop_kbs_get_policy(struct prop_kbs *k, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_kbs_request rq = { .call = PROP_KBS_GET_POLICY, .method = "GET",
                                   .path = "/resource-policy" };
    int rc = admin_send(k, &rq, &a, err);
    if (rc == 0)
        rc = prop_buf_add(out, a.body.data, a.body.len, err);
    return PROP_KBS_WRAP(rc, err, "get the resource policy");
}

int prop_kbs_set_attestation_policy(struct prop_kbs *k, const char *id, const char *rego,
                                    size_t len, struct prop_err *err)
{
    prop_auto_free char *b64 = NULL;
    int rc = policy_text(rego, len, &b64, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *body =
        json_pack("{s:s,s:s,s:s}", "type", "rego", "policy_id", id, "policy", b64);
    rc = post_json(k, PROP_KBS_SET_ATTESTATION_POLICY, "/attestation-policy", body, err);
    return PROP_KBS_WRAP(rc, err, "set the attestation policy '%s'", id);
}

int prop_kbs_set_reference_values(struct prop_kbs *k, const json_t *values, struct prop_err *err)
{
    if (!json_is_object(values))
        return prop_err_set(err, PROP_E_INPUT, "reference values are a JSON object of names");
    prop_auto_free char *text = prop_json_compact(values);
    if (!text)
        return prop_err_nomem(err);
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, text, strlen(text));
    prop_auto_json json_t *body =
        json_pack("{s:s,s:s,s:s}", "version", "0.1.0", "type", "sample", "payload",
                  b64 ? b64 : "");
    int rc = b64 ? post_json(k, PROP_KBS_SET_REFERENCE, "/reference-value", body, err)
                 : prop_err_nomem(err);
    return PROP_KBS_WRAP(rc, err, "set reference values");
}

/* Names are [A-Za-z0-9._/-]+ and go into the path as they are. */
static bool is_reference_name(const char *name)
{
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";
    return *name && strspn(name, ok) == strlen(name) && !strstr(name, "..");
}

int prop_kbs_get_reference_value(struct prop_kbs *k, const char *name, json_t **ret,
                                 struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    char shown[128];
    if (!is_reference_name(name))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-reference-name",
                               "'%s' is no name of a reference value",
                               prop_printable(name, strlen(name), shown, sizeof(shown)));
    prop_auto_free char *path = prop_asprintf("/reference-value/%s", name);
    if (!path)
        return prop_err_nomem(err);
    struct prop_kbs_request rq = { .call = PROP_KBS_GET_REFERENCE, .method = "GET",
                                   .path = path };
    int rc = admin_send(k, &rq, &a, err);
    if (rc == 0) {
        /* A bare value may come back, which is JSON but no document: read it inside a list. */
        prop_auto_free char *list = prop_asprintf("[%s]", prop_buf_str(&a.body));
        prop_auto_json json_t *root = NULL;
        if (!list)
            return prop_err_nomem(err);
        rc = prop_json_parse(list, strlen(list), "reference value", &root, err);
        if (rc == 0 && json_array_size(root) != 1)
            rc = prop_err_set(err, PROP_E_REMOTE, "the key broker sent no single value");
        if (rc == 0)
            *ret = json_incref(json_array_get(root, 0));
    }
    return PROP_KBS_WRAP(rc, err, "get reference value '%s'", name);
}

int prop_kbs_health(struct prop_kbs *k, struct prop_err *err)
{
    /* Since v0.21. Older servers are known by how they refuse a call that is not there. */
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *url = prop_asprintf("%s/healthz", k->url);
    if (!url)
        return prop_err_nomem(err);
    struct prop_http_request hr = { .method = "GET", .url = url, .max_body = PROP_LIMIT_ERROR_BODY,
                                    .idempotent = true };
    int rc = prop_http_do(k->http, &hr, &a, err);
    if (rc < 0)
        return rc;
    if (a.status == 200)
        return 0;
    prop_auto_answer struct prop_http_answer b = PROP_HTTP_ANSWER_INIT;
    struct prop_err other = PROP_ERR_INIT;
    struct prop_kbs_request rq = { .call = PROP_KBS_GET_POLICY, .method = "GET",
                                   .path = "/resource-policy" };
    rc = prop_kbs_send(k, &rq, &b, &other);
    if (rc == 0 || (other.id && prop_starts_with(other.id, "admin-auth")) ||
        other.code == PROP_E_UNSUPPORTED)
        return 0;
    if (err)
        *err = other;
    return rc;
}
