/* The members that say what a guest must be made of: digests, registers, firmware, init-data. */
#include "policy/rule_internal.h"

#include "util/encode.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

enum { sha384_bytes = 48, sha256_bytes = 32, digest_max = 48, claims_depth = 8, claims_max = 256, text_max = 500 };

int prop_rule_bad(struct rule_reader *r, const char *why)
{
    return prop_err_set_id(r->err, PROP_E_INPUT, "bad-rule", "%s: %s", r->what, why);
}

static int bad_member(struct rule_reader *r, const char *key, const char *why)
{
    return prop_err_set_id(r->err, PROP_E_INPUT, "bad-rule", "%s: '%s' %s", r->what, key, why);
}

/* --- lists ------------------------------------------------------------------------------------- */

/* One element of a list as a JSON value of its normal form, owned; NULL when it is none. */
typedef json_t *item_fn(struct rule_reader *r, const char *text);

/* A text, or a list of them, into a list without doubles. `why` is what an element is not. */
static int take_list(struct rule_reader *r, const char *key, const json_t *v, item_fn *normal,
                     const char *why, const char *hint)
{
    prop_auto_json json_t *list = json_array();
    prop_auto_json json_t *seen = json_object();
    bool one = !json_is_array(v);
    size_t n = one ? 1 : json_array_size(v);
    if (list == NULL || seen == NULL)
        return prop_err_nomem(r->err);
    for (size_t i = 0; i < n; i++) {
        const char *s = json_string_value(one ? v : json_array_get(v, i));
        prop_auto_json json_t *item = s != NULL ? normal(r, s) : NULL;
        if (item == NULL) {
            r->spot->item = one ? 0 : i + 1;
            (void)bad_member(r, key, why);
            return prop_err_hint(r->err, "%s", hint);
        }
        if (json_object_get(seen, json_string_value(item)) != NULL)
            continue;
        if (json_object_set_new(seen, json_string_value(item), json_true()) != 0 ||
            json_array_append(list, item) != 0)
            return prop_err_nomem(r->err);
    }
    if (n == 0)
        return bad_member(r, key, "is an empty list, which lets nobody in");
    return json_object_set(r->out, key, list) == 0 ? 0 : prop_err_nomem(r->err);
}

/* "PREFIX" HEX of so many bytes, in lower case; the prefix is put in front again when `keep`. */
static json_t *digest_normal(const char *s, const char *prefix, size_t bytes, bool keep)
{
    uint8_t raw[digest_max];
    char hex[2 * digest_max + 1];
    if (prop_starts_with(s, prefix))
        s += strlen(prefix);
    else if (keep)
        return NULL;
    if (prop_hex_decode(s, strlen(s), raw, bytes) != 0)
        return NULL;
    prop_hex_encode(raw, bytes, hex);
    return keep ? json_sprintf("%s%s", prefix, hex) : json_string(hex);
}

static json_t *hex_item(struct rule_reader *r, const char *s)
{
    (void)r;
    return digest_normal(s, "sha384:", sha384_bytes, false);
}

int prop_rule_take_hex(struct rule_reader *r, const char *key, const json_t *v)
{
    bool measurement = strcmp(key, "measurement") == 0;
    bool tdx = r->tee != NULL && strcmp(r->tee->name, "tdx") == 0;
    if (measurement && (r->tee == NULL || r->tee->measurement == NULL)) {
        (void)bad_member(r, key, "goes with tee = \"snp\" or \"tdx\" only");
        return prop_err_hint(r->err, "other evidence is judged by its tier");
    }
    if (!measurement && !tdx)
        return bad_member(r, key, "goes with tee = \"tdx\" only");
    return take_list(r, key, v, hex_item, "is not sha384:HEX",
                     "96 hex digits, as 'propcvm vm measure' prints them");
}

static json_t *status_item(struct rule_reader *r, const char *s)
{
    (void)r;
    return prop_policy_word_in(prop_policy_tcb_statuses, s) ? json_string(s) : NULL;
}

int prop_rule_take_tcb_status(struct rule_reader *r, const char *key, const json_t *v)
{
    if (r->tee == NULL || strcmp(r->tee->name, "tdx") != 0) {
        (void)bad_member(r, key, "goes with tee = \"tdx\" only");
        return prop_err_hint(r->err, "the firmware of an snp machine is named by min_tcb");
    }
    return take_list(r, key, v, status_item, "has a word that names no status of Intel's",
                     "UpToDate, SWHardeningNeeded, ConfigurationNeeded, "
                     "ConfigurationAndSWHardeningNeeded, OutOfDate, OutOfDateConfigurationNeeded");
}

static json_t *init_data_item(struct rule_reader *r, const char *s)
{
    (void)r;
    json_t *v = digest_normal(s, "sha256:", sha256_bytes, true);
    return v != NULL ? v : digest_normal(s, "sha384:", sha384_bytes, true);
}

static int check_init_data_tee(struct rule_reader *r, const char *key)
{
    if (r->tee != NULL && r->tee->init_data != PROP_INIT_DATA_NONE)
        return 0;
    (void)bad_member(r, key, "goes with tee = \"snp\", \"tdx\" or \"sample\" only");
    return prop_err_hint(r->err, "what other evidence says of its init-data is not known");
}

int prop_rule_take_init_data(struct rule_reader *r, const char *key, const json_t *v)
{
    int rc = check_init_data_tee(r, key);
    return rc != 0 ? rc
                   : take_list(r, key, v, init_data_item, "is neither sha256:HEX nor sha384:HEX",
                               "the digest of the document's exact bytes, by its own 'algorithm'");
}

static json_t *image_item(struct rule_reader *r, const char *s)
{
    (void)r;
    return digest_normal(s, "sha256:", sha256_bytes, true);
}

int prop_rule_take_images(struct rule_reader *r, const char *key, const json_t *v)
{
    return take_list(r, key, v, image_item, "is not sha256:HEX",
                     "the digests of the images' manifests, without their names");
}

static json_t *reference_item(struct rule_reader *r, const char *s)
{
    return prop_policy_reference_find(r->tee->name, s) != NULL ? json_string(s) : NULL;
}

int prop_rule_take_references(struct rule_reader *r, const char *key, const json_t *v)
{
    char names[300] = "";
    size_t len = 0;
    const struct prop_policy_reference *t = prop_policy_reference_table();
    for (; r->tee != NULL && t->name != NULL && len < sizeof names; t++)
        if (strcmp(t->tee, r->tee->name) == 0)
            len += (size_t)snprintf(names + len, sizeof names - len, " %s", t->name);
    if (len == 0)
        return bad_member(r, key, "goes with tee = \"snp\", \"tdx\" or \"sample\" only");
    char why[120], hint[380];
    (void)snprintf(why, sizeof why, "has a name that the shipped attestation policy does not use "
                                    "for %s", r->tee->name);
    (void)snprintf(hint, sizeof hint, "known:%s", names);
    return take_list(r, key, v, reference_item, why, hint);
}

/* --- single values ----------------------------------------------------------------------------- */

int prop_rule_take_affirming(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *s = json_string_value(v);
    if (s == NULL || strcmp(s, "affirming") != 0) {
        (void)bad_member(r, key, "is not 'affirming'");
        return prop_err_hint(r->err, "leave it away where the verifier need not affirm it");
    }
    return json_object_set_new(r->out, key, json_string(s)) == 0 ? 0 : prop_err_nomem(r->err);
}

int prop_rule_take_measured(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *s = json_string_value(v);
    if (json_is_false(v))
        return 0;
    if (!json_is_true(v) && (s == NULL || *s == 0)) {
        (void)bad_member(r, key, "is neither true nor a name");
        return prop_err_hint(r->err, "true takes every value of the files given with --measured, a "
                                     "name the one that has it");
    }
    if (r->tee == NULL || r->tee->measurement == NULL)
        return bad_member(r, key, "goes with tee = \"snp\" or \"tdx\" only");
    json_t *copy = s != NULL ? json_string(s) : json_true();
    return json_object_set_new(r->out, key, copy) == 0 ? 0 : prop_err_nomem(r->err);
}

int prop_rule_take_debug(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *s = json_string_value(v);
    if (s != NULL && strcmp(s, "never") == 0)
        return 0;
    (void)bad_member(r, key, "is not 'never'");
    return prop_err_hint(r->err, "a guest that its host may debug keeps no secret: no rule can let "
                                 "it in");
}

int prop_rule_take_migration(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *s = json_string_value(v);
    if (s == NULL || (strcmp(s, "never") != 0 && strcmp(s, "allowed") != 0))
        return bad_member(r, key, "is neither 'never' nor 'allowed'");
    if (r->tee == NULL || r->tee->migration == NULL) {
        (void)bad_member(r, key, "goes with tee = \"snp\" only");
        return prop_err_hint(r->err, "no other evidence tells whether a guest may be migrated");
    }
    if (strcmp(s, "never") == 0)
        return 0;
    return json_object_set_new(r->out, key, json_string(s)) == 0 ? 0 : prop_err_nomem(r->err);
}

/* --- tables ------------------------------------------------------------------------------------ */

static void at_inner(struct rule_reader *r, const char *name)
{
    (void)snprintf(r->spot->inner, sizeof r->spot->inner, "%s", name);
}

int prop_rule_take_min_tcb(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *name;
    json_t *n;
    if (r->tee == NULL || strcmp(r->tee->name, "snp") != 0) {
        (void)bad_member(r, key, "goes with tee = \"snp\" only");
        return prop_err_hint(r->err, "the firmware of a tdx machine is named by tcb_status");
    }
    if (!json_is_object(v) || json_object_size(v) == 0)
        return bad_member(r, key, "is not a table of bootloader, tee, snp, microcode");
    json_object_foreach ((json_t *)(uintptr_t)v, name, n) {
        json_int_t i = json_integer_value(n);
        at_inner(r, name);
        if (!prop_policy_word_in(prop_policy_tcb_parts, name))
            return bad_member(r, key, "has a part that is none of bootloader, tee, snp, microcode");
        if (!json_is_integer(n) || i < 0 || i > 255)
            return bad_member(r, key, "has a part that is no number from 0 to 255");
    }
    prop_auto_json json_t *out = json_object();
    for (const char *const *p = prop_policy_tcb_parts; out != NULL && *p != NULL; p++)
        if ((n = json_object_get(v, *p)) != NULL && json_object_set(out, *p, n) != 0)
            return prop_err_nomem(r->err);
    return out != NULL && json_object_set(r->out, key, out) == 0 ? 0 : prop_err_nomem(r->err);
}

/* A text as it will stand in the policy, where a line must not be too long for the engine. */
static bool too_long(const json_t *text)
{
    return json_dumpb(text, NULL, 0, JSON_ENCODE_ANY) > text_max;
}

static const char *value_fault(const json_t *v, size_t *n)
{
    if (++*n > claims_max)
        return "has too many values";
    if (json_is_string(v) && too_long(v))
        return "has a text that is too long";
    return json_is_string(v) || json_is_integer(v) || json_is_boolean(v)
               ? NULL
               : "has a value that is no text, whole number, true or false";
}

/* Tables down to a fixed depth, values at their ends. */
static const char *claims_fault(const json_t *v, size_t depth, size_t *n)
{
    const char *name;
    json_t *inner;
    if (!json_is_object(v))
        return value_fault(v, n);
    if (depth == 0)
        return "is nested too deeply";
    if (json_object_size(v) == 0)
        return "has an empty table, which asks for nothing";
    json_object_foreach ((json_t *)(uintptr_t)v, name, inner) {
        prop_auto_json json_t *text = json_string(name);
        const char *why = text == NULL || too_long(text) ? "has a name that is too long"
                                                         : claims_fault(inner, depth - 1, n);
        if (why != NULL)
            return why;
    }
    return NULL;
}

int prop_rule_take_claims(struct rule_reader *r, const char *key, const json_t *v)
{
    const char *name;
    json_t *inner;
    size_t n = 0;
    int rc = check_init_data_tee(r, key);
    if (rc != 0)
        return rc;
    if (!json_is_object(v) || json_object_size(v) == 0)
        return bad_member(r, key, "is not a table of names and values");
    const char *whole = claims_fault(v, claims_depth + 1, &n);
    n = 0;
    json_object_foreach ((json_t *)(uintptr_t)v, name, inner) {
        const char *why = claims_fault(inner, claims_depth, &n);
        if (why != NULL) {
            at_inner(r, name);
            return bad_member(r, key, why);
        }
    }
    if (whole != NULL) /* a name of the outermost table */
        return bad_member(r, key, whole);
    /* In the order of their names, so that equal documents give equal policies. */
    prop_auto_free char *sorted = prop_json_sorted(v);
    json_t *out = NULL;
    if (sorted == NULL)
        return prop_err_nomem(r->err);
    rc = prop_json_parse(sorted, strlen(sorted), key, &out, r->err);
    if (rc == 0 && json_object_set_new(r->out, key, out) != 0)
        rc = prop_err_nomem(r->err);
    return rc;
}
