/* Shapes and merging of reference values. */
#include "kbs/reference.h"

#include "util/mem.h"

#include <string.h>

enum shape {
    LIST_OF_TEXTS,   /* tested with `in` */
    LIST_OF_HEX,     /* the same, of digests: lower-case hex, as claims spell them */
    LIST_OF_NUMBERS,
    ONE_NUMBER,      /* tested with == or >= */
    ONE_BOOL,
    ONE_TEXT
};

/* attestation.md 4.4 */
static const struct {
    const char *name;
    enum shape shape;
    unsigned hex_digits;  /* of a digest; 0 = not looked at */
} known[] = {
    { "launch_digest", LIST_OF_TEXTS, 0 },
    { "svn", LIST_OF_TEXTS, 0 },
    { "major_version", ONE_NUMBER, 0 },
    { "minimum_minor_version", ONE_NUMBER, 0 },
    { "snp_launch_measurement", LIST_OF_HEX, 96 },
    { "snp_bootloader", LIST_OF_NUMBERS, 0 },
    { "snp_microcode", LIST_OF_NUMBERS, 0 },
    { "snp_snp_svn", LIST_OF_NUMBERS, 0 },
    { "snp_tee_svn", LIST_OF_NUMBERS, 0 },
    { "snp_smt_enabled", ONE_BOOL, 0 },
    { "snp_tsme_enabled", ONE_BOOL, 0 },
    { "snp_guest_abi_major", ONE_NUMBER, 0 },
    { "snp_guest_abi_minor", ONE_NUMBER, 0 },
    { "snp_single_socket", ONE_BOOL, 0 },
    { "snp_smt_allowed", ONE_BOOL, 0 },
    { "mr_td", LIST_OF_HEX, 96 },
    { "rtmr_1", LIST_OF_HEX, 96 },
    { "rtmr_2", LIST_OF_HEX, 96 },
    { "xfam", LIST_OF_HEX, 16 },
    { "tdvfkernel", ONE_TEXT, 96 },
    { "tdvfkernelparams", ONE_TEXT, 96 },
};

static const struct {
    const char *is, *example;
} shapes[] = {
    [LIST_OF_TEXTS] = { "a list of texts", "[\"...\"]" },
    [LIST_OF_HEX] = { "a list of digests in lower-case hex", "[\"...\"]" },
    [LIST_OF_NUMBERS] = { "a list of numbers", "[1]" },
    [ONE_NUMBER] = { "one number, no list", "1" },
    [ONE_BOOL] = { "true or false, no list", "true" },
    [ONE_TEXT] = { "one digest in lower-case hex, no list", "\"...\"" },
};

bool prop_reference_is_name(const char *name)
{
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";
    if (!*name || strspn(name, ok) != strlen(name) || strstr(name, ".."))
        return false;
    /* "a/./b" in a URL means a/b: another value would be read. */
    for (const char *part = name; part; part = strchr(part, '/'), part += part != NULL)
        if (part[0] == '.' && (part[1] == '/' || part[1] == 0))
            return false;
    return true;
}

const char *prop_reference_known(size_t i)
{
    return i < PROP_ARRAY_LEN(known) ? known[i].name : NULL;
}

static bool is_list(enum shape shape)
{
    return shape == LIST_OF_TEXTS || shape == LIST_OF_HEX || shape == LIST_OF_NUMBERS;
}

static bool is_hex(const json_t *v, unsigned digits)
{
    const char *s = json_string_value(v);
    return s && strspn(s, "0123456789abcdef") == strlen(s) && (!digits || strlen(s) == digits);
}

static bool element_fits(enum shape shape, unsigned digits, const json_t *v)
{
    switch (shape) {
    case LIST_OF_TEXTS:
        return json_is_string(v);
    case LIST_OF_HEX:
    case ONE_TEXT:
        return is_hex(v, digits);
    case LIST_OF_NUMBERS:
    case ONE_NUMBER:
        return json_is_number(v);
    case ONE_BOOL:
        return json_is_boolean(v);
    }
    return false;
}

static bool fits(enum shape shape, unsigned digits, const json_t *value)
{
    size_t i;
    json_t *one;
    if (!is_list(shape))
        return element_fits(shape, digits, value);
    if (!json_is_array(value))
        return false;
    json_array_foreach(value, i, one)
        if (!element_fits(shape, digits, one))
            return false;
    return true;
}

int prop_reference_check(const char *name, const json_t *value, struct prop_err *err)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(known); i++) {
        if (strcmp(known[i].name, name) != 0 || fits(known[i].shape, known[i].hex_digits, value))
            continue;
        const char *is = shapes[known[i].shape].is;
        if (known[i].hex_digits)
            prop_err_set_id(err, PROP_E_INPUT, "reference-shape",
                            "the shipped attestation policy tests '%s' as %s (%u digits); this "
                            "value would match nothing", name, is, known[i].hex_digits);
        else
            prop_err_set_id(err, PROP_E_INPUT, "reference-shape",
                            "the shipped attestation policy tests '%s' as %s; this value would "
                            "match nothing", name, is);
        return prop_err_hint(err, "write %s=%s, or --force-shape for an attestation policy of your "
                                  "own", name, shapes[known[i].shape].example);
    }
    return 0;
}

static bool same_members(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *v;
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach((json_t *)(uintptr_t)a, key, v) {
        const json_t *w = json_object_get(b, key);
        if (!w || !prop_reference_equal(v, w))
            return false;
    }
    return true;
}

/* Depth is bounded: both were read with PROP_LIMIT_JSON_DEPTH. */
bool prop_reference_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) {
        if (json_is_integer(a) && json_is_integer(b))
            return json_integer_value(a) == json_integer_value(b);
        double x = json_number_value(a), y = json_number_value(b);
        return !(x < y) && !(y < x);
    }
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_object(a))
        return same_members(a, b);
    if (!json_is_array(a))
        return json_equal(a, b);
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!prop_reference_equal(json_array_get(a, i), json_array_get(b, i)))
            return false;
    return true;
}

static bool holds(const json_t *list, const json_t *value)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
        if (prop_reference_equal(one, value))
            return true;
    return false;
}

/* Append what is in `from` and not yet in `to`. */
static int unite(json_t *to, const json_t *from, struct prop_err *err)
{
    size_t i;
    json_t *one;
    json_array_foreach(from, i, one)
        if (!holds(to, one) && json_array_append(to, one) != 0)
            return prop_err_nomem(err);
    return 0;
}

/* What is in `old` and not in `now`. */
static int lost(const json_t *old, const json_t *now, json_t **ret, struct prop_err *err)
{
    size_t i;
    json_t *one;
    prop_auto_json json_t *out = json_array();
    if (!out)
        return prop_err_nomem(err);
    if (json_is_array(old) && json_is_array(now)) {
        json_array_foreach(old, i, one)
            if (!holds(now, one) && json_array_append(out, one) != 0)
                return prop_err_nomem(err);
    } else if (old && !json_is_null(old) && !prop_reference_equal(old, now) &&
               json_array_append(out, (json_t *)(uintptr_t)old) != 0) {
        return prop_err_nomem(err);
    }
    *ret = PROP_TAKE(out);
    return 0;
}

static int conflict(const char *name, const json_t *old, struct prop_err *err)
{
    prop_auto_free char *text = prop_json_compact(old);
    prop_err_set_id(err, PROP_E_EXISTS, "reference-conflict",
                    "'%s' has another value on the key broker: %.120s", name, text ? text : "");
    return prop_err_hint(err, "another image may need it; --replace drops it all the same");
}

int prop_reference_merge(const char *name, const json_t *old, const json_t *add, unsigned flags,
                         json_t **ret, json_t **ret_dropped, struct prop_err *err)
{
    prop_auto_json json_t *now = NULL;
    prop_auto_json json_t *dropped = NULL;
    int rc = 0;
    bool lists = old && json_is_array(old) && json_is_array(add);
    if (json_is_array(add)) {
        now = json_array();
        rc = now ? 0 : prop_err_nomem(err);
        if (rc == 0 && lists && !(flags & PROP_REFERENCE_REPLACE))
            rc = unite(now, old, err);
        if (rc == 0)
            rc = unite(now, add, err);
    } else {
        now = json_incref((json_t *)(uintptr_t)add);
    }
    if (rc == 0)
        rc = lost(old, now, &dropped, err);
    if (rc == 0 && !(flags & PROP_REFERENCE_REPLACE) && json_array_size(dropped) > 0)
        rc = conflict(name, old, err);
    if (rc < 0)
        return rc;
    *ret = PROP_TAKE(now);
    *ret_dropped = PROP_TAKE(dropped);
    return 0;
}
