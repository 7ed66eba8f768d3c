/* Examples for people and for the engine. */
#include "policy/example.h"

#include "policy/tee.h"
#include "policy/token.h"

#include <stdio.h>
#include <string.h>

enum { shown_max = 16, claims_shown = 4 };

int prop_policy_token_for_guest(const json_t *guest, json_t **ret, struct prop_err *err)
{
    const char *name = json_string_value(json_object_get(guest, "tee"));
    const struct prop_policy_tee *tee = prop_policy_tee_find(name);
    prop_auto_json json_t *token = NULL;
    size_t i;
    json_t *c;
    int rc = prop_policy_token_new(name, json_string_value(json_object_get(guest, "status")), NULL,
                                   false, &token, err);
    if (rc == 0 && json_is_true(json_object_get(guest, "migratable")) && tee != NULL &&
        tee->migration != NULL) {
        prop_auto_json json_t *may =
            json_pack("{s:[s, s], s:[b]}", "path", tee->name, tee->migration[0], "in", 1);
        rc = may != NULL ? prop_policy_token_meet(token, may, err) : prop_err_nomem(err);
    }
    json_array_foreach (json_object_get(guest, "claims"), i, c)
        if (rc == 0)
            rc = prop_policy_token_meet(token, c, err);
    if (rc == 0)
        *ret = PROP_TAKE(token);
    return rc;
}

/* The last two names of a path, which is what people know it by. */
static int say_path(const json_t *path, struct prop_buf *out, struct prop_err *err)
{
    size_t n = json_array_size(path);
    int rc = 0;
    for (size_t i = n > 2 ? n - 2 : 0; rc == 0 && i < n; i++)
        rc = prop_buf_printf(out, err, "%s%s", json_string_value(json_array_get(path, i)),
                             i + 1 < n ? "." : "");
    return rc;
}

static int say_value(const json_t *v, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_free char *other = json_is_string(v) ? NULL : prop_json_compact(v);
    const char *text = json_is_string(v) ? json_string_value(v) : other;
    if (text == NULL)
        return prop_err_nomem(err);
    return prop_buf_printf(out, err, " %.*s%s", (int)shown_max, text,
                           strlen(text) > shown_max ? "..." : "");
}

static int say_claim(const json_t *c, struct prop_buf *out, struct prop_err *err)
{
    const json_t *path = json_object_get(c, "path"), *values = json_object_get(c, "in");
    if (json_object_get(c, "images") != NULL)
        return prop_buf_puts(out, "the container images named", err);
    int rc = path != NULL ? say_path(path, out, err)
                          : prop_buf_puts(out, json_string_value(json_object_get(c, "claim")), err);
    if (rc == 0)
        rc = say_value(values != NULL ? json_array_get(values, 0) : json_object_get(c, "least"), out,
                       err);
    return rc;
}

int prop_policy_example_say(const json_t *example, struct prop_buf *out, struct prop_err *err)
{
    const json_t *guest = json_object_get(example, "guest");
    const json_t *claims = json_object_get(guest, "claims");
    const char *name = json_string_value(json_object_get(guest, "tee"));
    bool known = name != NULL && prop_policy_tee_find(name) != NULL;
    char evidence[40];
    (void)snprintf(evidence, sizeof evidence, "%s evidence", known ? name : "");
    int rc = prop_buf_printf(out, err, "'%s' to a guest with %s, %s%s",
                             json_string_value(json_object_get(example, "resource")),
                             known ? evidence : "evidence of other hardware",
                             json_string_value(json_object_get(guest, "status")),
                             json_object_get(guest, "migratable") != NULL ? ", that may be migrated"
                                                                          : "");
    for (size_t i = 0; rc == 0 && i < json_array_size(claims) && i < claims_shown; i++) {
        rc = prop_buf_puts(out, i == 0 ? ", with " : ", ", err);
        if (rc == 0)
            rc = say_claim(json_array_get(claims, i), out, err);
    }
    return rc == 0 ? prop_buf_printf(out, err, " (rule %lld)",
                                     (long long)json_integer_value(json_object_get(example, "rule")))
                   : rc;
}
