/* Measurement files as reference values. */
#include "kbs/reference.h"

#include "util/mem.h"

#include <ctype.h>
#include <string.h>

enum { DIGEST_DIGITS = 96 };

static int bad(const char *what, const char *name, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_INPUT, "bad-measurement", "%s: '%s' is no measurement", what, name);
    return prop_err_hint(err, "96 hex digits, a list of them, or profiles with a value each");
}

static int nothing(const char *what, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_INPUT, "bad-measurement",
                    "%s holds neither a measurement nor reference values", what);
    return prop_err_hint(err, "a JSON object with launch_digest, or mr_td, rtmr_1 and rtmr_2, or "
                              "names of reference values");
}

/* One digest, in the lower case that claims have. */
static int add_digest(json_t *list, const char *hex, const char *what, const char *name,
                      struct prop_err *err)
{
    char lower[DIGEST_DIGITS + 1];
    if (!hex || strlen(hex) != DIGEST_DIGITS ||
        strspn(hex, "0123456789abcdefABCDEF") != DIGEST_DIGITS)
        return bad(what, name, err);
    for (size_t i = 0; i <= DIGEST_DIGITS; i++)
        lower[i] = (char)tolower((unsigned char)hex[i]);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), lower) == 0)
            return 0;
    return json_array_append_new(list, json_string(lower)) == 0 ? 0 : prop_err_nomem(err);
}

/* The value of {"profile": ..., "value": ...}, whatever it is called. */
static const char *value_of(const json_t *v)
{
    static const char *const names[] = { "value", "digest", "launch_digest", "hex" };
    if (json_is_string(v))
        return json_string_value(v);
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++)
        if (json_is_string(json_object_get(v, names[i])))
            return json_string_value(json_object_get(v, names[i]));
    return NULL;
}

static int digests(const json_t *v, const char *what, const char *name, json_t **ret,
                   struct prop_err *err)
{
    size_t i;
    const char *key;
    json_t *one;
    int rc = 0;
    prop_auto_json json_t *list = json_array();
    if (!list)
        return prop_err_nomem(err);
    if (json_is_array(v)) {
        json_array_foreach(v, i, one)
            if (rc == 0)
                rc = add_digest(list, value_of(one), what, name, err);
    } else if (json_is_object(v) && !value_of(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, key, one)
            if (rc == 0)
                rc = add_digest(list, value_of(one), what, name, err);
    } else {
        rc = add_digest(list, value_of(v), what, name, err);
    }
    if (rc == 0 && json_array_size(list) == 0)
        rc = bad(what, name, err);
    if (rc < 0)
        return rc;
    *ret = PROP_TAKE(list);
    return 0;
}

static bool is_digest_text(const char *s)
{
    return s && strlen(s) == DIGEST_DIGITS &&
           strspn(s, "0123456789abcdefABCDEF") == DIGEST_DIGITS;
}

/* "launch_digest" is also the name of the sample TEE's reference value, a list of short texts. */
static bool is_measurement(const json_t *doc)
{
    const json_t *d = json_object_get(doc, "launch_digest");
    if (json_object_get(doc, "mode") || json_object_get(doc, "mr_td") ||
        json_object_get(doc, "rtmr_1") || json_object_get(doc, "rtmr_2"))
        return true;
    if (json_is_array(d))
        d = json_array_get(d, 0);
    return d && (json_is_object(d) || is_digest_text(json_string_value(d)));
}

static int check_mode(const json_t *doc, const char *what, struct prop_err *err)
{
    const char *mode = json_string_value(json_object_get(doc, "mode"));
    if (!mode || strcmp(mode, "snp") == 0 || strcmp(mode, "tdx") == 0)
        return 0;
    prop_err_set_id(err, PROP_E_UNSUPPORTED, "measurement-tee",
                    "%s is a measurement of '%s'; key brokers attest snp and tdx", what, mode);
    return PROP_E_UNSUPPORTED;
}

static int take(const json_t *doc, const char *from, const char *to, const char *what,
                json_t *values, struct prop_err *err)
{
    prop_auto_json json_t *list = NULL;
    const json_t *v = json_object_get(doc, from);
    if (!v || json_is_null(v))
        return 0;
    int rc = digests(v, what, from, &list, err);
    if (rc == 0 && json_object_set(values, to, list) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

/* Names of the policy that stand beside the measurement, as they are. */
static int take_others(const json_t *doc, json_t *values, struct prop_err *err)
{
    const char *name;
    for (size_t i = 0; (name = prop_reference_known(i)); i++) {
        json_t *v = json_object_get(doc, name);
        if (v && strcmp(name, "launch_digest") != 0 && !json_object_get(values, name) &&
            json_object_set(values, name, v) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* Where the values are: the document, or what it says they are; "reference-value get --json" says
 * "values", beside what is none. */
static const json_t *inner(const json_t *doc)
{
    const json_t *named = json_object_get(doc, "reference_values");
    const json_t *got = json_object_get(doc, "values");
    if (json_is_object(named))
        return named;
    return json_is_object(got) && json_is_string(json_object_get(doc, "kbs")) ? got : doc;
}

int prop_reference_from_measurement(const json_t *doc, const char *what, json_t **ret,
                                    struct prop_err *err)
{
    static const char *const tdx[] = { "mr_td", "rtmr_1", "rtmr_2" };
    int rc = json_is_object(doc) ? check_mode(doc, what, err) : nothing(what, err);
    doc = inner(doc);
    if (rc == 0 && !is_measurement(doc)) {
        if (json_object_size(doc) == 0)
            return nothing(what, err);
        *ret = json_incref((json_t *)(uintptr_t)doc);
        return 0;
    }
    prop_auto_json json_t *values = json_object();
    if (rc == 0 && !values)
        rc = prop_err_nomem(err);
    if (rc == 0)
        rc = take(doc, "launch_digest", "snp_launch_measurement", what, values, err);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(tdx); i++)
        rc = take(doc, tdx[i], tdx[i], what, values, err);
    if (rc == 0)
        rc = take_others(doc, values, err);
    if (rc == 0 && json_object_size(values) == 0)
        rc = nothing(what, err);
    if (rc == 0)
        *ret = PROP_TAKE(values);
    return rc;
}
