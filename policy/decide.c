/* One question to the engine. */
#include "policy/decide.h"

#include "engine/rego.h"

#include <string.h>

/* `data` as the current KBS gives it (kbs.md 4.1). Owned. */
static json_t *request_data(const char *path)
{
    json_t *list = json_array();
    for (const char *p = path; list != NULL;) {
        size_t len = strcspn(p, "/");
        if (json_array_append_new(list, json_stringn(p, len)) != 0) {
            json_decref(list);
            return NULL;
        }
        p += len;
        if (*p == 0)
            break;
        p++;
    }
    return list != NULL ? json_pack("{s:s, s:o, s:{}}", "plugin", "resource", "resource-path", list,
                                    "query")
                        : NULL;
}

int prop_policy_decide(const char *rego, size_t len, const json_t *token, const char *path,
                       bool *ret_allow, struct prop_err *err)
{
    prop_auto_json json_t *data = request_data(path);
    if (data == NULL)
        return prop_err_nomem(err);
    prop_auto_rego struct prop_rego *engine = NULL;
    prop_auto_json json_t *value = NULL;
    int rc = prop_rego_new("", rego, len, &engine, NULL, err);
    if (rc == 0)
        rc = prop_rego_set_data(engine, data, err);
    if (rc == 0)
        rc = prop_rego_set_input(engine, token, err);
    if (rc == 0)
        rc = prop_rego_eval_rule(engine, "data.policy.allow", &value, err);
    if (rc == 0)
        *ret_allow = json_is_true(value);
    return rc;
}
