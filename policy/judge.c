/* Asking is cheap where only the input changes: other data makes the engine look at the whole
 * policy again, so data that is the same as before is not set again. */
#include "policy/judge.h"

#include "engine/rego.h"
#include "policy/document.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>

struct prop_policy_judge {
    struct prop_policy_doc *doc; /* NULL for Rego */
    struct prop_buf rego_text;
    struct prop_rego *rego;
    json_t *outline;             /* made when needed */
    json_t *data, *input;        /* as set last */
};

json_t *prop_policy_data(const struct prop_policy_question *q)
{
    if (q->old_server)
        return json_pack("{s:s}", "resource-path", q->path);
    prop_auto_json json_t *path = json_array();
    const char *p = q->path;
    while (path != NULL) {
        size_t len = strcspn(p, "/");
        if (json_array_append_new(path, json_stringn(p, len)) != 0)
            return NULL;
        if (p[len] == '\0')
            break;
        p += len + 1;
    }
    return json_pack("{s:s, s:O, s:o}", "plugin", q->plugin != NULL ? q->plugin : "resource",
                     "resource-path", path, "query",
                     q->query != NULL ? json_deep_copy(q->query) : json_object());
}

bool prop_policy_is_document(const char *name, const char *text, size_t len)
{
    if (prop_ends_with(name, ".rego"))
        return false;
    return prop_ends_with(name, ".toml") || prop_ends_with(name, ".json") ||
           prop_policy_doc_looks_like(text, len);
}

static int fill(struct prop_policy_judge *j, const char *name, const char *text, size_t len,
                bool document, struct prop_err *err)
{
    int rc;
    if (memchr(text, 0, len) != NULL || len == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "not-text", "'%s' %s", name,
                               len == 0 ? "is empty" : "is not text");
    if (document) {
        rc = prop_policy_doc_parse(text, len, name, &j->doc, err);
        if (rc == 0)
            rc = prop_policy_build(j->doc, &j->rego_text, err);
        if (rc == 0)
            rc = prop_rego_new("", prop_buf_str(&j->rego_text), j->rego_text.len, &j->rego, NULL,
                               err);
        return rc;
    }
    rc = prop_buf_add(&j->rego_text, text, len, err);
    return rc == 0 ? prop_rego_new(name, text, len, &j->rego, NULL, err) : rc;
}

static int make(const char *name, const char *text, size_t len, bool document,
                struct prop_policy_judge **ret, struct prop_err *err)
{
    prop_auto_policy_judge struct prop_policy_judge *j = prop_zalloc(sizeof *j);
    if (j == NULL)
        return prop_err_nomem(err);
    j->rego_text = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = fill(j, name, text, len, document, err);
    if (rc == 0)
        *ret = PROP_TAKE(j);
    return rc;
}

int prop_policy_judge_new(const char *name, const char *text, size_t len,
                          struct prop_policy_judge **ret, struct prop_err *err)
{
    return make(name, text, len, prop_policy_is_document(name, text, len), ret, err);
}

int prop_policy_judge_new_rego(const char *name, const char *text, size_t len,
                               struct prop_policy_judge **ret, struct prop_err *err)
{
    return make(name, text, len, false, ret, err);
}

int prop_policy_judge_load(const char *path, struct prop_policy_judge **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = prop_file_read(path, &text, err);
    return rc == 0 ? prop_policy_judge_new(path, prop_buf_str(&text), text.len, ret, err) : rc;
}

void prop_policy_judge_free(struct prop_policy_judge *j)
{
    if (j == NULL)
        return;
    prop_policy_doc_free(j->doc);
    prop_buf_release(&j->rego_text);
    prop_rego_free(j->rego);
    json_decref(j->outline);
    json_decref(j->data);
    json_decref(j->input);
    prop_free(j);
}

const char *prop_policy_judge_rego(const struct prop_policy_judge *j, size_t *ret_len)
{
    *ret_len = j->rego_text.len;
    return prop_buf_str(&j->rego_text);
}

const struct prop_policy_doc *prop_policy_judge_doc(const struct prop_policy_judge *j)
{
    return j->doc;
}

int prop_policy_judge_outline(struct prop_policy_judge *j, const json_t **ret, struct prop_err *err)
{
    if (j->outline == NULL) {
        int rc = prop_rego_outline(j->rego, &j->outline, err);
        if (rc != 0)
            return rc;
    }
    *ret = j->outline;
    return 0;
}

int prop_policy_judge_rule(struct prop_policy_judge *j, const json_t *input, const json_t *data,
                           const char *rule, json_t **ret, struct prop_err *err)
{
    int rc = 0;
    if (j->data == NULL || !json_equal(j->data, data)) {
        json_decref(j->data);
        j->data = NULL;
        rc = prop_rego_set_data(j->rego, data, err);
        if (rc == 0 && (j->data = json_deep_copy(data)) == NULL)
            rc = prop_err_nomem(err);
    }
    if (rc == 0)
        rc = prop_rego_set_input(j->rego, input, err);
    if (rc == 0) {
        json_decref(j->input);
        j->input = json_incref((json_t *)(uintptr_t)input);
    }
    return rc == 0 ? prop_rego_eval_rule(j->rego, rule, ret, err) : rc;
}

int prop_policy_judge_ask(struct prop_policy_judge *j, const struct prop_policy_question *q,
                          bool *ret_allow, json_t **ret_value, struct prop_err *err)
{
    prop_auto_json json_t *data = prop_policy_data(q);
    prop_auto_json json_t *value = NULL;
    if (data == NULL)
        return prop_err_nomem(err);
    int rc = prop_policy_judge_rule(j, q->token, data, "data.policy.allow", &value, err);
    if (rc != 0)
        return rc;
    *ret_allow = json_is_true(value);
    if (ret_value != NULL)
        *ret_value = PROP_TAKE(value);
    return 0;
}

int prop_policy_judge_asked(const struct prop_policy_judge *j, bool data, json_t **ret)
{
    const json_t *v = data ? j->data : j->input;
    *ret = v != NULL ? json_incref((json_t *)(uintptr_t)v) : json_object();
    return *ret != NULL ? 0 : PROP_E_NOMEM;
}

struct prop_rego *prop_policy_judge_engine(struct prop_policy_judge *j)
{
    return j->rego;
}
