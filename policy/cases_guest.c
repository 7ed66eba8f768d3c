/* Evidence comes as a verifier writes it: what it checks for every kind of evidence stands beside
 * the claims in a policy's input, and among them in the verifier's own output. */
#include "policy/cases_guest.h"

#include "jose/jws.h"
#include "policy/outline.h"
#include "util/file.h"
#include "util/limits.h"

#include <string.h>

#define TOKEN_BYTES (4u << 20)

int prop_guests_init(struct prop_guests *g, const char *file, const struct prop_cases_options *o,
                     struct prop_err *err)
{
    *g = (struct prop_guests){ .file = file, .options = o, .files = json_object(),
                               .names = json_array() };
    return g->files != NULL && g->names != NULL ? 0 : prop_err_nomem(err);
}

void prop_guests_release(struct prop_guests *g)
{
    for (size_t i = 0; i < g->n_policies; i++)
        prop_attestation_free(g->policies[i]);
    prop_free(g->policies);
    json_decref(g->files);
    json_decref(g->names);
}

static int case_failed(const struct prop_guests *g, const json_t *one, struct prop_err *err)
{
    return prop_err_wrap(err, "%s, case '%s'", g->file, prop_outline_text(one, "name"));
}

int prop_cases_token(const char *text, size_t len, const char *what, json_t **ret,
                     struct prop_err *err)
{
    prop_auto_json json_t *header = NULL;
    prop_auto_json json_t *body = NULL;
    const char *jwt = text;
    int rc = 0;

    while (len > 0 && strchr(" \t\r\n", jwt[len - 1]) != NULL)
        len--;
    if (jwt[strspn(jwt, " \t\r\n")] == '{') {
        rc = prop_json_parse(text, len, what, &body, err);
        jwt = json_string_value(json_object_get(body, "token"));
        len = jwt != NULL ? strlen(jwt) : 0;
    }
    static const char *const inside[] = { "payload", "claims" }; /* of a token that was decoded */
    for (size_t i = 0; i < PROP_ARRAY_LEN(inside); i++) {
        json_t *v = json_object_get(body, inside[i]);
        if (json_object_get(body, "submods") == NULL && json_object_get(v, "submods") != NULL) {
            json_incref(v);
            json_decref(body);
            body = v;
        }
    }
    if (rc == 0 && jwt != NULL) {
        prop_auto_json json_t *answer = PROP_TAKE(body); /* what `jwt` points into */
        rc = prop_jws_decode(jwt, len, &header, &body, err);
        if (rc != 0)
            prop_err_wrap(err, "%s", what);
    }
    if (rc != 0)
        return rc;
    if (!json_is_object(json_object_get(body, "submods"))) {
        prop_err_set_id(err, PROP_E_INPUT, "not-a-token", "%s has no 'submods': not an EAR token",
                        what);
        return prop_err_hint(err, "give evidence as 'evidence', not as 'token'");
    }
    *ret = PROP_TAKE(body);
    return 0;
}

/* What is in a file that a case names, borrowed: a token or any JSON. */
static int from_file(struct prop_guests *g, const char *name, bool token, const json_t **ret,
                     struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(TOKEN_BYTES);
    prop_auto_free char *path = prop_cases_path(g->file, name);
    json_t *v = path != NULL ? json_object_get(g->files, path) : NULL;

    if (path == NULL)
        return prop_err_nomem(err);
    if (v == NULL) {
        int rc = prop_file_read(path, &text, err);
        if (rc == 0)
            rc = token ? prop_cases_token(prop_buf_str(&text), text.len, path, &v, err)
                       : prop_json_parse(prop_buf_str(&text), text.len, path, &v, err);
        if (rc != 0)
            return rc;
        if (json_object_set_new(g->files, path, v) != 0)
            return prop_err_nomem(err);
    }
    *ret = v;
    return 0;
}

/* A member that is an object, or the name of a file with one. */
static int member(struct prop_guests *g, const json_t *one, const char *name, const json_t **ret,
                  struct prop_err *err)
{
    const json_t *v = json_object_get(one, name);
    int rc = 0;
    if (json_is_string(v))
        rc = from_file(g, json_string_value(v), strcmp(name, "token") == 0, &v, err);
    if (rc == 0 && !json_is_object(v))
        rc = prop_err_set_id(err, PROP_E_INPUT, "bad-cases", "'%s' is not an object", name);
    if (rc == 0)
        *ret = v;
    return rc;
}

/* Evidence in the form a policy sees: report_data and init_data beside the claims. */
static int annotate(const json_t *evidence, json_t **ret, struct prop_err *err)
{
    static const char *const common[] = { "report_data", "init_data" };
    prop_auto_json json_t *out = json_deep_copy(evidence);
    const char *tee;
    json_t *claims;
    if (out == NULL)
        return prop_err_nomem(err);
    json_object_foreach((json_t *)(uintptr_t)evidence, tee, claims) {
        json_t *mine = json_object_get(out, tee);
        for (size_t i = 0; json_is_object(claims) && i < PROP_ARRAY_LEN(common); i++) {
            json_t *v = json_object_get(mine, common[i]);
            if (v == NULL || strcmp(tee, "init_data_claims") == 0)
                continue;
            if (json_object_get(out, common[i]) == NULL && json_object_set(out, common[i], v) != 0)
                return prop_err_nomem(err);
            (void)json_object_del(mine, common[i]);
        }
    }
    *ret = PROP_TAKE(out);
    return 0;
}

int prop_guests_evidence(struct prop_guests *g, const json_t *one, json_t **ret,
                         struct prop_err *err)
{
    const json_t *evidence = NULL;
    int rc = member(g, one, "evidence", &evidence, err);
    if (rc == 0)
        rc = annotate(evidence, ret, err);
    return rc == 0 ? 0 : case_failed(g, one, err);
}

int prop_guests_references(struct prop_guests *g, const json_t *one, json_t **ret,
                           struct prop_err *err)
{
    const json_t *v = NULL;
    if (json_object_get(one, "reference_values") == NULL) {
        *ret = NULL;
        return 0;
    }
    int rc = member(g, one, "reference_values", &v, err);
    if (rc != 0)
        return case_failed(g, one, err);
    *ret = json_incref((json_t *)(uintptr_t)v);
    return 0;
}

static int policy(struct prop_guests *g, const char *name, struct prop_attestation **ret,
                  struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    size_t i;
    json_t *known;
    int rc = 0;
    json_array_foreach(g->names, i, known) {
        if (strcmp(json_string_value(known), name) == 0) {
            *ret = g->policies[i];
            return 0;
        }
    }
    struct prop_attestation **more =
        prop_realloc_array(g->policies, g->n_policies + 1, sizeof(struct prop_attestation *));
    if (more == NULL)
        return prop_err_nomem(err);
    g->policies = more;
    if (strcmp(name, "default") == 0 && g->options->shipped != NULL) {
        rc = prop_buf_puts(&text, g->options->shipped, err);
    } else {
        prop_auto_free char *path = prop_cases_path(g->file, name);
        rc = path != NULL ? prop_file_read(path, &text, err) : prop_err_nomem(err);
    }
    if (rc == 0)
        rc = prop_attestation_new(name, prop_buf_str(&text), text.len, &more[g->n_policies], err);
    if (rc != 0)
        return rc;
    g->n_policies++;
    *ret = more[g->n_policies - 1];
    return json_array_append_new(g->names, json_string(name)) == 0 ? 0 : prop_err_nomem(err);
}

static int appraise(struct prop_guests *g, const json_t *one, const json_t *evidence, json_t **ret,
                    char **ret_refused, struct prop_err *err)
{
    struct prop_attestation *a = NULL;
    prop_auto_json json_t *references = NULL;
    prop_auto_json json_t *outcome = NULL;
    int rc = policy(g, prop_outline_text(one, "attestation_policy"), &a, err);
    if (rc != 0)
        return case_failed(g, one, err);
    rc = prop_guests_references(g, one, &references, err);
    if (rc == 0)
        rc = prop_attestation_appraise(a, evidence, references, &outcome, err);
    if (rc != 0)
        return rc;
    if (strcmp(prop_outline_text(outcome, "outcome"), "token") == 0)
        return prop_attestation_token(evidence, prop_outline_text(outcome, "status"),
                                      json_object_get(outcome, "vector"),
                                      json_object_get(outcome, "extensions"), ret, err);
    *ret_refused = prop_asprintf("no token: %s", prop_outline_text(outcome, "reason"));
    return *ret_refused != NULL ? 0 : prop_err_nomem(err);
}

/* The status that a trust vector means. */
static const char *worst(const json_t *vector)
{
    static const char *const order[] = { "none", "affirming", "warning", "contraindicated" };
    size_t most = 0;
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)vector, name, v) {
        const char *t = prop_trust_tier(json_integer_value(v));
        for (size_t i = most + 1; i < PROP_ARRAY_LEN(order); i++)
            if (strcmp(order[i], t) == 0)
                most = i;
    }
    return order[most];
}

int prop_guests_token(struct prop_guests *g, const json_t *one, json_t **ret, char **ret_refused,
                      struct prop_err *err)
{
    const json_t *token = NULL;
    prop_auto_json json_t *evidence = NULL;
    const char *status = json_string_value(json_object_get(one, "status"));
    const json_t *vector = json_object_get(one, "vector");
    int rc;

    if (json_object_get(one, "token") != NULL) {
        rc = member(g, one, "token", &token, err);
        if (rc != 0)
            return case_failed(g, one, err);
        *ret = json_incref((json_t *)(uintptr_t)token);
        return 0;
    }
    rc = prop_guests_evidence(g, one, &evidence, err);
    if (rc != 0)
        return rc;
    if (json_object_get(one, "attestation_policy") != NULL)
        return appraise(g, one, evidence, ret, ret_refused, err);
    return prop_attestation_token(evidence, status != NULL ? status : worst(vector), vector, NULL,
                                  ret, err);
}
