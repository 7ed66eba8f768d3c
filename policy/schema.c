/* The schema, from the tables of policy/tee.h and the members of policy/rule.h. A member that the
 * parser knows and this file does not is a failure, which the tests would see. */
#include "policy/schema.h"

#include "policy/rule.h"

#include <string.h>

static const char part[] = "[A-Za-z0-9_*-][A-Za-z0-9_.*-]*";

static json_t *text(const char *pattern, const char *about)
{
    return json_pack("{s:s, s:s, s:s}", "type", "string", "pattern", pattern, "description", about);
}

/* A word or a list of words, of the kind `item` (taken). */
static json_t *one_or_many(json_t *item, const char *about)
{
    json_t *v = item != NULL ? json_pack("{s:s, s:[O, {s:s, s:i, s:O}]}", "description", about, "oneOf",
                                         item, "type", "array", "minItems", 1, "items", item)
                             : NULL;
    json_decref(item);
    return v;
}

/* {"enum": list} of a NULL-ended list of words. */
static json_t *words(const char *const *list)
{
    json_t *v = json_array();
    for (; v != NULL && *list != NULL; list++)
        if (json_array_append_new(v, json_string(*list)) != 0) {
            json_decref(v);
            return NULL;
        }
    return v != NULL ? json_pack("{s:o}", "enum", v) : NULL;
}

static json_t *tee_names(void)
{
    json_t *v = json_array();
    for (const struct prop_policy_tee *t = prop_policy_tee_table(); t->name != NULL; t++)
        if (json_array_append_new(v, json_string(t->name)) != 0) {
            json_decref(v);
            return NULL;
        }
    return json_pack("{s:o, s:s}", "enum", v, "description",
                     "kind of evidence; without it, any real hardware");
}

static json_t *reference_names(const char *tee)
{
    json_t *v = json_array();
    for (const struct prop_policy_reference *r = prop_policy_reference_table(); r->name != NULL; r++)
        if ((tee == NULL || strcmp(r->tee, tee) == 0) &&
            json_array_append_new(v, json_string(r->name)) != 0) {
            json_decref(v);
            return NULL;
        }
    return json_pack("{s:o}", "enum", v);
}

static json_t *resource(void)
{
    prop_auto_free char *pattern =
        prop_asprintf("^(kbs:///)?(?!.*\\*[^/]*\\*)%s/%s/%s$", part, part, part);
    return pattern != NULL ? text(pattern, "repository/type/tag; a part may hold one '*'") : NULL;
}

static json_t *min_tcb(void)
{
    json_t *parts = json_object();
    for (const char *const *p = prop_policy_tcb_parts; *p != NULL; p++)
        if (json_object_set_new(parts, *p, json_pack("{s:s, s:i, s:i}", "type", "integer", "minimum", 0,
                                                     "maximum", 255)) != 0) {
            json_decref(parts);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:b, s:i, s:s}", "type", "object", "properties", parts,
                     "additionalProperties", 0, "minProperties", 1, "description",
                     "snp: firmware no older than this");
}

static json_t *hex(const char *about)
{
    return one_or_many(text("^(sha384:)?[0-9a-fA-F]{96}$", "a SHA-384"), about);
}

/* The schema of one member; NULL for a name that has none here, or when memory is out. */
static json_t *member(const char *name)
{
    static const char *const affirming[] = { "affirming", NULL };
    static const char *const tiers[] = { "affirming", "warning", NULL };
    static const char *const never[] = { "never", NULL };
    static const char *const migration[] = { "never", "allowed", NULL };
    if (strcmp(name, "resource") == 0)
        return resource();
    if (strcmp(name, "tee") == 0)
        return tee_names();
    if (strcmp(name, "tier") == 0)
        return words(tiers);
    if (prop_policy_word_in(prop_policy_vector_claims, name))
        return words(affirming);
    if (strcmp(name, "measurement") == 0)
        return hex("launch measurement of an snp guest, mr_td of a tdx guest; any of them");
    if (strncmp(name, "rtmr_", strlen("rtmr_")) == 0)
        return hex("a run-time register of a tdx guest; any of them");
    if (strcmp(name, "measured") == 0)
        return json_pack("{s:[{s:s}, {s:s, s:i}], s:s}", "oneOf", "type", "boolean", "type", "string",
                         "minLength", 1, "description", "values come from the files of --measured");
    if (strcmp(name, "reference_values") == 0)
        return one_or_many(reference_names(NULL), "names of the shipped attestation policy");
    if (strcmp(name, "min_tcb") == 0)
        return min_tcb();
    if (strcmp(name, "tcb_status") == 0)
        return one_or_many(words(prop_policy_tcb_statuses), "tdx: any of Intel's words");
    if (strcmp(name, "init_data") == 0)
        return one_or_many(text("^(sha256:[0-9a-fA-F]{64}|sha384:[0-9a-fA-F]{96})$", "a digest"),
                           "what the guest was started with; any of them");
    if (strcmp(name, "init_data_claims") == 0)
        return json_pack("{s:s, s:s}", "$ref", "#/$defs/claims", "description",
                         "values the init-data must have");
    if (strcmp(name, "container_images") == 0)
        return one_or_many(text("^sha256:[0-9a-fA-F]{64}$", "a digest"),
                           "every image the guest may run is one of them");
    if (strcmp(name, "debug") == 0)
        return words(never);
    if (strcmp(name, "migration") == 0)
        return words(migration);
    if (strcmp(name, "allow_any_guest") == 0)
        return json_pack("{s:s, s:s}", "type", "boolean", "description",
                         "whatever runs on such hardware");
    if (strcmp(name, "comment") == 0)
        return json_pack("{s:s, s:i, s:s}", "type", "string", "maxLength", 2000, "description",
                         "goes into the built policy");
    return NULL;
}

/* {"if": has `name`, "then": tee is one of `tees`}. */
static json_t *goes_with(const char *name, const char *const *tees)
{
    json_t *tee = words(tees);
    return tee != NULL ? json_pack("{s:{s:[s]}, s:{s:[s], s:{s:o}}}", "if", "required", name, "then",
                                   "required", "tee", "properties", "tee", tee)
                       : NULL;
}

/* Reference values of another tee are refused. */
static json_t *names_of(const char *tee)
{
    json_t *names = one_or_many(reference_names(tee), "names for this tee");
    return names != NULL
               ? json_pack("{s:{s:[s, s], s:{s:{s:s}}}, s:{s:{s:o}}}", "if", "required", "tee",
                           "reference_values", "properties", "tee", "const", tee, "then", "properties",
                           "reference_values", names)
               : NULL;
}

static json_t *sample_const(void)
{
    return json_pack("{s:[s], s:{s:{s:s}}}", "required", "tee", "properties", "tee", "const", "sample");
}

/* Reference values that speak of this claim. */
static json_t *has_reference(const char *claim)
{
    json_t *names = json_array();
    for (const struct prop_policy_reference *r = prop_policy_reference_table(); r->name != NULL; r++)
        if (strcmp(r->claim, claim) == 0 && json_array_append_new(names, json_string(r->name)) != 0) {
            json_decref(names);
            return NULL;
        }
    json_t *v = json_pack("{s:[s], s:{s:{s:[{s:O}, {s:s, s:{s:O}}]}}}", "required",
                          "reference_values", "properties", "reference_values", "anyOf", "enum", names,
                          "type", "array", "contains", "enum", names);
    json_decref(names);
    return v;
}

/* The verifier's word on a claim is asked for, by the claim's name or by a reference value. */
static json_t *wants(const char *claim)
{
    return json_pack("{s:[{s:[s]}, o]}", "anyOf", "required", claim, has_reference(claim));
}

static json_t *narrow(void)
{
    return json_pack("{s:[{s:[s]}, {s:[s]}, {s:[s], s:{s:{s:{s:b}}}}, {s:[o, {s:[{s:[s], s:{s:{s:s}}}, o]}]}]}",
                     "anyOf", "required", "tier", "required", "measurement", "required", "measured",
                     "properties", "measured", "not", "const", 0, "allOf", wants("executables"), "anyOf",
                     "required", "tee", "properties", "tee", "const", "snp", wants("hardware"));
}

static int add(json_t *list, json_t *v, struct prop_err *err)
{
    return json_array_append_new(list, v) == 0 ? 0 : prop_err_nomem(err);
}

static int add_relations(json_t *all, struct prop_err *err)
{
    static const char *const snp[] = { "snp", NULL };
    static const char *const tdx[] = { "tdx", NULL };
    static const char *const both[] = { "snp", "tdx", NULL };
    static const char *const three[] = { "snp", "tdx", "sample", NULL };
    static const struct {
        const char *name;
        const char *const *tees;
    } relations[] = {
        { "measurement", both }, { "rtmr_0", tdx },         { "rtmr_1", tdx },
        { "rtmr_2", tdx },       { "rtmr_3", tdx },         { "reference_values", three },
        { "min_tcb", snp },      { "tcb_status", tdx },     { "init_data", three },
        { "init_data_claims", three }, { "migration", snp },
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(relations); i++)
        rc = add(all, goes_with(relations[i].name, relations[i].tees), err);
    for (size_t i = 0; rc == 0 && three[i] != NULL; i++)
        rc = add(all, names_of(three[i]), err);
    if (rc == 0) /* measured = false says nothing */
        rc = add(all, json_pack("{s:{s:[s], s:{s:{s:{s:b}}}}, s:{s:[s], s:{s:{s:[s, s]}}}}", "if",
                                "required", "measured", "properties", "measured", "not", "const", 0,
                                "then", "required", "tee", "properties", "tee", "enum", "snp", "tdx"),
                 err);
    if (rc == 0)
        rc = add(all, json_pack("{s:{s:[s], s:{s:{s:b}}}, s:{s:{s:[o, o]}}, s:{s:[o, o]}}", "if",
                                "required", "allow_any_guest", "properties", "allow_any_guest",
                                "const", 1, "then", "not", "anyOf", narrow(), sample_const(), "else",
                                "anyOf", narrow(), sample_const()),
                 err);
    return rc;
}

static int rule_schema(json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *members = json_object();
    prop_auto_json json_t *all = json_array();
    if (members == NULL || all == NULL)
        return prop_err_nomem(err);
    for (const char *const *name = prop_policy_rule_members(); *name != NULL; name++)
        if (json_object_set_new(members, *name, member(*name)) != 0)
            return prop_err_set(err, PROP_E_BUG, "the schema has no '%s'", *name);
    int rc = add_relations(all, err);
    if (rc != 0)
        return rc;
    json_t *v = json_pack("{s:s, s:[s], s:O, s:b, s:O}", "type", "object", "required", "resource",
                          "properties", members, "additionalProperties", 0, "allOf", all);
    if (v == NULL)
        return prop_err_nomem(err);
    *ret = v;
    return 0;
}

int prop_policy_schema(json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *rule = NULL;
    int rc = rule_schema(&rule, err);
    if (rc != 0)
        return rc;
    prop_auto_json json_t *claims = json_pack(
        "{s:s, s:i, s:{s:i}, s:{s:[{s:s}, {s:[s, s, s], s:i}]}}", "type", "object", "minProperties", 1,
        "propertyNames", "maxLength", 498, "additionalProperties", "oneOf", "$ref", "#/$defs/claims",
        "type", "string", "integer", "boolean", "maxLength", 498);
    json_t *v = claims == NULL ? NULL : json_pack(
        "{s:s, s:s, s:s, s:[s], s:{s:{s:i}, s:{s:s}, s:{s:s, s:{s:s}}}, s:b, s:{s:O, s:O}}", "$schema",
        "https://json-schema.org/draft/2020-12/schema", "title",
        "Policy document: who may have which keys of a key broker", "type", "object", "required",
        "version", "properties", "version", "const", 1, "comment", "type", "string", "rule", "type",
        "array", "items", "$ref", "#/$defs/rule", "additionalProperties", 0, "$defs", "rule", rule,
        "claims", claims);
    if (v == NULL)
        return prop_err_nomem(err);
    *ret = v;
    return 0;
}
