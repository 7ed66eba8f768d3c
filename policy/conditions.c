/* From members to conditions. Order follows the normal form, so equal rules give equal arrays. */
#include "policy/conditions.h"

#include "policy/pattern.h"
#include "policy/rule.h"
#include "util/encode.h"
#include "util/text.h"

#include <string.h>

/* A condition (taken) behind the others; its parts may have failed to allocate. */
static int add(json_t *list, json_t *condition, struct prop_err *err)
{
    return json_array_append_new(list, condition) == 0 ? 0 : prop_err_nomem(err);
}

/* {TEE, path...} as an array; NULL when memory is out. */
static json_t *path_below(const char *tee, const char *const *path)
{
    json_t *out = json_pack("[s]", tee);
    for (; out != NULL && *path != NULL; path++)
        if (json_array_append_new(out, json_string(*path)) != 0) {
            json_decref(out);
            return NULL;
        }
    return out;
}

static int add_in(json_t *list, json_t *path, json_t *values, struct prop_err *err)
{
    json_t *c = path != NULL ? json_pack("{s:o, s:O}", "path", path, "in", values) : NULL;
    return c != NULL ? add(list, c, err) : prop_err_nomem(err);
}

/* --- trust vector ------------------------------------------------------------------------------ */

static int add_claim(json_t *list, const json_t *rule, const char *tee, const char *claim,
                     struct prop_err *err)
{
    const json_t *names = json_object_get(rule, "reference_values");
    int least = PROP_VECTOR_AFFIRMING_LEAST, most = PROP_VECTOR_AFFIRMING_MOST;
    bool wanted = json_object_get(rule, claim) != NULL;
    for (size_t i = 0; tee != NULL && i < json_array_size(names); i++) {
        const struct prop_policy_reference *ref =
            prop_policy_reference_find(tee, json_string_value(json_array_get(names, i)));
        if (ref == NULL || strcmp(ref->claim, claim) != 0)
            continue;
        wanted = true;
        least = ref->least > least ? ref->least : least;
        most = ref->most < most ? ref->most : most;
    }
    return wanted ? add(list, json_pack("{s:s, s:i, s:i}", "claim", claim, "least", least, "most",
                                        most),
                        err)
                  : 0;
}

/* --- pins -------------------------------------------------------------------------------------- */

static int add_measurement(json_t *list, const json_t *rule, const struct prop_policy_tee *tee,
                           struct prop_err *err)
{
    json_t *values = json_object_get(rule, "measurement");
    return values != NULL && tee->measurement != NULL
               ? add_in(list, path_below(tee->name, tee->measurement), values, err)
               : 0;
}

static int add_registers(json_t *list, const json_t *rule, struct prop_err *err)
{
    static const char *const names[] = { "rtmr_0", "rtmr_1", "rtmr_2", "rtmr_3" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        json_t *values = json_object_get(rule, names[i]);
        const char *const path[] = { "quote", "body", names[i], NULL };
        int rc = values != NULL ? add_in(list, path_below("tdx", path), values, err) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int add_firmware(json_t *list, const json_t *rule, struct prop_err *err)
{
    static const char *const status[] = { "tcb_status", NULL };
    json_t *least = json_object_get(rule, "min_tcb");
    json_t *values = json_object_get(rule, "tcb_status");
    int rc = 0;
    for (const char *const *p = prop_policy_tcb_parts; rc == 0 && *p != NULL; p++) {
        json_t *n = json_object_get(least, *p);
        prop_auto_free char *name = n != NULL ? prop_asprintf("reported_tcb_%s", *p) : NULL;
        const char *const path[] = { name, NULL };
        if (n != NULL && name == NULL)
            return prop_err_nomem(err);
        if (n != NULL)
            rc = add(list, json_pack("{s:o, s:O}", "path", path_below("snp", path), "least", n), err);
    }
    return rc == 0 && values != NULL ? add_in(list, path_below("tdx", status), values, err) : rc;
}

/* "sha256:HEX" as the verifier writes it for this evidence; a JSON string, owned. */
static json_t *init_data_claim(const char *s, enum prop_policy_init_data form)
{
    uint8_t raw[48] = { 0 };
    char hex[2 * sizeof raw + 1];
    const char *digits = strchr(s, ':') != NULL ? strchr(s, ':') + 1 : s;
    size_t len = strlen(digits) / 2;
    if (len > sizeof raw || prop_hex_decode(digits, 2 * len, raw, len) != 0)
        return NULL;
    if (form == PROP_INIT_DATA_BASE64) {
        prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, raw, len);
        return b64 != NULL ? json_string(b64) : NULL;
    }
    prop_hex_encode(raw, form == PROP_INIT_DATA_HEX32 ? 32 : 48, hex);
    return json_string(hex);
}

static int add_init_data(json_t *list, const json_t *rule, const struct prop_policy_tee *tee,
                         struct prop_err *err)
{
    const json_t *digests = json_object_get(rule, "init_data");
    prop_auto_json json_t *values = json_array();
    if (digests == NULL)
        return 0;
    for (size_t i = 0; values != NULL && i < json_array_size(digests); i++) {
        json_t *v = init_data_claim(json_string_value(json_array_get(digests, i)), tee->init_data);
        if (json_array_append_new(values, v) != 0)
            return prop_err_nomem(err);
    }
    return values != NULL ? add_in(list, json_pack("[s]", "init_data"), values, err)
                          : prop_err_nomem(err);
}

/* One condition for each value at the end of the nested names. Nesting is bounded (rule_pins.c). */
static int add_claims(json_t *list, const json_t *v, const json_t *path, struct prop_err *err)
{
    const char *name;
    json_t *inner;
    json_object_foreach ((json_t *)(uintptr_t)v, name, inner) {
        prop_auto_json json_t *deeper = json_copy((json_t *)(uintptr_t)path);
        if (deeper == NULL || json_array_append_new(deeper, json_string(name)) != 0)
            return prop_err_nomem(err);
        int rc = json_is_object(inner)
                     ? add_claims(list, inner, deeper, err)
                     : add(list, json_pack("{s:O, s:[O]}", "path", deeper, "in", inner), err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int prop_policy_conditions(const json_t *rule, json_t **ret, struct prop_err *err)
{
    const char *name = json_string_value(json_object_get(rule, "tee"));
    const struct prop_policy_tee *tee = name != NULL ? prop_policy_tee_find(name) : NULL;
    prop_auto_json json_t *list = json_array();
    prop_auto_json json_t *below = json_pack("[s]", "init_data_claims");
    json_t *images = json_object_get(rule, "container_images");
    if (list == NULL || below == NULL)
        return prop_err_nomem(err);
    int rc = 0;
    for (const char *const *c = prop_policy_vector_claims; rc == 0 && *c != NULL; c++)
        rc = add_claim(list, rule, name, *c, err);
    if (rc == 0 && tee != NULL)
        rc = add_measurement(list, rule, tee, err);
    if (rc == 0)
        rc = add_registers(list, rule, err);
    if (rc == 0)
        rc = add_firmware(list, rule, err);
    if (rc == 0 && tee != NULL)
        rc = add_init_data(list, rule, tee, err);
    if (rc == 0)
        rc = add_claims(list, json_object_get(rule, "init_data_claims"), below, err);
    if (rc == 0 && images != NULL)
        rc = add(list, json_pack("{s:O}", "images", images), err);
    if (rc == 0)
        *ret = PROP_TAKE(list);
    return rc;
}

/* --- implication ------------------------------------------------------------------------------- */

bool prop_policy_condition_same(const json_t *a, const json_t *b)
{
    static const char *const keys[] = { "path", "claim" };
    if (json_object_get(a, "images") != NULL)
        return json_object_get(b, "images") != NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(keys); i++) {
        const json_t *x = json_object_get(a, keys[i]), *y = json_object_get(b, keys[i]);
        if (x != NULL)
            return y != NULL && json_equal(x, y);
    }
    return false;
}

bool prop_policy_list_has(const json_t *list, const json_t *v)
{
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item)
        if (json_equal(item, v))
            return true;
    return false;
}

static bool subset(const json_t *all, const json_t *some)
{
    size_t i;
    json_t *item;
    json_array_foreach (some, i, item)
        if (!prop_policy_list_has(all, item))
            return false;
    return true;
}

bool prop_policy_condition_implied(const json_t *a, const json_t *b)
{
    if (!prop_policy_condition_same(a, b))
        return false;
    const json_t *most = json_object_get(a, "most");
    if (json_object_get(a, "images") != NULL)
        return subset(json_object_get(a, "images"), json_object_get(b, "images"));
    if (json_object_get(a, "in") != NULL)
        return subset(json_object_get(a, "in"), json_object_get(b, "in"));
    return json_integer_value(json_object_get(b, "least")) >=
               json_integer_value(json_object_get(a, "least")) &&
           (most == NULL || json_integer_value(json_object_get(b, "most")) <= json_integer_value(most));
}

static bool resource_covers(const json_t *a, const json_t *b)
{
    struct prop_policy_part pa[3], pb[3];
    const char *sa = json_string_value(json_object_get(a, "resource"));
    const char *sb = json_string_value(json_object_get(b, "resource"));
    if (sa == NULL || sb == NULL)
        return false;
    prop_policy_pattern_parts(sa, pa);
    prop_policy_pattern_parts(sb, pb);
    return prop_policy_part_contains(&pa[0], &pb[0]) && prop_policy_part_contains(&pa[1], &pb[1]) &&
           prop_policy_part_contains(&pa[2], &pb[2]);
}

static bool tee_covers(const json_t *a, const json_t *b)
{
    if (json_equal(a, b) || (a == NULL && b == NULL))
        return true;
    const struct prop_policy_tee *tee =
        b != NULL ? prop_policy_tee_find(json_string_value(b)) : NULL;
    return a == NULL && tee != NULL && !tee->sample;
}

static bool tier_covers(const json_t *a, const json_t *b)
{
    return a == NULL || json_equal(a, b) ||
           (b != NULL && strcmp(json_string_value(a), "warning") == 0);
}

bool prop_policy_rule_covers(const json_t *a, const json_t *b)
{
    prop_auto_json json_t *ca = NULL;
    prop_auto_json json_t *cb = NULL;
    size_t i, k;
    json_t *wants, *has;
    bool allowed = json_object_get(a, "migration") != NULL;
    if (!resource_covers(a, b) || (!allowed && json_object_get(b, "migration") != NULL) ||
        !tee_covers(json_object_get(a, "tee"), json_object_get(b, "tee")) ||
        !tier_covers(json_object_get(a, "tier"), json_object_get(b, "tier")))
        return false;
    /* A rule without its values yet lets nobody in, and nobody knows whom it will. */
    if (json_object_get(a, "measured") != NULL || json_object_get(b, "measured") != NULL)
        return json_equal(json_object_get(a, "measured"), json_object_get(b, "measured")) &&
               json_equal(a, b);
    if (prop_policy_conditions(a, &ca, NULL) != 0 || prop_policy_conditions(b, &cb, NULL) != 0)
        return false;
    json_array_foreach (ca, i, wants) {
        bool met = false;
        json_array_foreach (cb, k, has)
            met = met || prop_policy_condition_implied(wants, has);
        if (!met)
            return false;
    }
    return true;
}
