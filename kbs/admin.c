/* The admin API: resources, policies, reference values. */
#include "kbs/internal.h"
#include "kbs/probe.h"
#include "kbs/reference.h"

#include "util/encode.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>

enum { LEEWAY_S = 60 };

/* A refusal of the administrator, with what we know of the token that the server does not say. */
static void explain_admin(const struct prop_kbs *k, struct prop_err *err)
{
    if (err->code != PROP_E_AUTH || !prop_starts_with(prop_err_id(err), "admin-auth"))
        return;
    bool times = strstr(err->message, "Cannot verify token") || strcmp(err->id, "admin-auth") == 0;
    if (k->bearer && times && k->clock_known && labs(k->clock_ahead_s) > LEEWAY_S) {
        err->hint[0] = 0;
        (void)prop_err_hint(err, "the server's clock is %ld s %s this machine's: tokens are good "
                                 "for a time by the server's clock", labs(k->clock_ahead_s),
                            k->clock_ahead_s > 0 ? "ahead of" : "behind");
    } else if (!k->admin_key && k->bearer && k->token_warning) {
        err->hint[0] = 0;
        (void)prop_err_hint(err, "%s", k->token_warning);
    }
}

static int send_once(struct prop_kbs *k, struct prop_kbs_request *rq, struct prop_http_answer *a,
                     struct prop_err *err)
{
    int rc = prop_kbs_bearer(k, &rq->authorization, err);
    return rc < 0 ? rc : prop_kbs_send(k, rq, a, err);
}

/* A call refused for its token changed nothing, so it may be made again with another form of it;
 * nothing else is ever sent twice here. */
static int admin_send(struct prop_kbs *k, struct prop_kbs_request *rq, struct prop_http_answer *a,
                      struct prop_err *err)
{
    struct prop_err first = PROP_ERR_INIT;
    int rc = send_once(k, rq, a, &first);
    if (rc == PROP_E_AUTH && prop_kbs_admin_next_form(k, &first)) {
        struct prop_err second = PROP_ERR_INIT;
        rc = send_once(k, rq, a, &second);
        if (rc == PROP_E_AUTH && prop_starts_with(prop_err_id(&second), "admin-auth"))
            prop_kbs_admin_first_form(k); /* it was not that */
        first = second;
    }
    if (rc < 0)
        explain_admin(k, &first);
    if (rc < 0 && err)
        *err = first;
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
    struct prop_err local = PROP_ERR_INIT;
    rc = admin_send(k, &rq, &a, &local);
    if (rc == 0)
        rc = check_empty(k, &a, &local);
    /* A key broker that does not know the method answers as any web server would. */
    if (rc == PROP_E_REMOTE && local.http_status &&
        strcmp(prop_err_id(&local), "not-a-kbs") == 0 && prop_kbs_health(k, NULL) == 0) {
        int status = local.http_status;
        prop_err_clear(&local);
        rc = prop_err_set_id(&local, PROP_E_UNSUPPORTED, "delete-unsupported",
                             "this key broker cannot delete resources");
        (void)prop_err_hint(&local, "Trustee can since v0.20: update the server, or upload "
                                    "something else under that name (propkey set --replace-key)");
        local.http_status = status;
    }
    if (rc < 0 && err)
        *err = local;
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

static int get_value(struct prop_kbs *k, const char *path, json_t **ret, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_json json_t *root = NULL;
    struct prop_kbs_request rq = { .call = PROP_KBS_GET_REFERENCE, .method = "GET",
                                   .path = path };
    int rc = admin_send(k, &rq, &a, err);
    if (rc < 0)
        return rc;
    rc = prop_json_parse(prop_buf_str(&a.body), a.body.len, "the key broker's answer", &root, err);
    if (rc == PROP_E_INPUT || rc == PROP_E_LIMIT) {
        if (err)
            err->code = PROP_E_REMOTE;
        return PROP_E_REMOTE;
    }
    if (rc == 0)
        *ret = PROP_TAKE(root);
    return rc;
}

/* Servers of v0.14 and v0.15 give all values whatever name is asked for; later ones refuse to, and
 * then the object is the value. */
static int pick_of_all(struct prop_kbs *k, const char *name, json_t *given, json_t **ret,
                       struct prop_err *err)
{
    prop_auto_json json_t *all = NULL;
    json_t *one = given;
    if (json_is_object(given) && get_value(k, "/reference-value", &all, NULL) == 0 &&
        prop_reference_equal(all, given))
        one = json_object_get(given, name);
    if (!one)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "rvps-error",
                               "the key broker has no reference value of that name");
    *ret = json_incref(one);
    return 0;
}

int prop_kbs_get_reference_value(struct prop_kbs *k, const char *name, json_t **ret,
                                 struct prop_err *err)
{
    prop_auto_json json_t *given = NULL;
    char shown[128];
    if (!prop_reference_is_name(name))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-reference-name",
                               "'%s' is no name of a reference value",
                               prop_printable(name, strlen(name), shown, sizeof(shown)));
    prop_auto_free char *path = prop_asprintf("/reference-value/%s", name);
    if (!path)
        return prop_err_nomem(err);
    int rc = get_value(k, path, &given, err);
    if (rc == 0)
        rc = pick_of_all(k, name, given, ret, err);
    return PROP_KBS_WRAP(rc, err, "get reference value '%s'", name);
}

int prop_kbs_health(struct prop_kbs *k, struct prop_err *err)
{
    /* Since v0.21. Older servers are known by how they refuse a call that is not there. */
    int status = 0;
    int rc = prop_kbs_probe_health(k, &status, err);
    if (rc < 0)
        return rc;
    if (status == 200)
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
