/* Rego v1 from the rules. The text is meant to be read by people in a review: one helper part that
 * is always the same, then one commented allow rule per rule of the document. Every string goes
 * through the JSON string escaper, and comments through prop_printable, so nothing in a document
 * can end the place it is put in. */
#include "policy/build.h"

#include "engine/rego.h"
#include "policy/document.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>

static const char head[] =
    "# Built from a policy document: change the document, not this text.\n"
    "package policy\n"
    "\n"
    "import rego.v1\n"
    "\n"
    "default allow := false\n"
    "\n"
    "# What kind of thing is asked for. Servers up to v0.16 have resources only and do not say.\n"
    "default plugin := \"resource\"\n"
    "\n"
    "plugin := data.plugin\n"
    "\n"
    "# The resource, \"repository/type/tag\": a list since v0.17, a string before.\n"
    "path := concat(\"/\", data[\"resource-path\"]) if {\n"
    "\tplugin == \"resource\"\n"
    "\tis_array(data[\"resource-path\"])\n"
    "}\n"
    "\n"
    "path := data[\"resource-path\"] if {\n"
    "\tplugin == \"resource\"\n"
    "\tis_string(data[\"resource-path\"])\n"
    "}\n"
    "\n"
    "parts := split(path, \"/\")\n"
    "\n"
    "# What the verifier says about the guest: \"cpu0\" since v0.14, \"cpu\" before.\n"
    "cpu := input.submods.cpu0\n"
    "\n"
    "cpu := input.submods.cpu if not input.submods.cpu0\n"
    "\n"
    "status := cpu[\"ear.status\"]\n"
    "\n"
    "evidence := cpu[\"ear.veraison.annotated-evidence\"]\n"
    "\n"
    "claims := object.keys(evidence)\n"
    "\n"
    "# Anybody can make sample evidence.\n"
    "sample if \"sample\" in claims\n"
    "\n"
    "sample if \"sampledevice\" in claims\n"
    "\n"
    "hardware if {\n"
    "\tcount(claims) > 0\n"
    "\tnot sample\n"
    "\tnot debugged\n"
    "}\n"
    "\n"
    "# A guest whose memory its host may look into keeps no secret.\n";

static int put_json(struct prop_buf *out, const char *s, struct prop_err *err)
{
    prop_auto_json json_t *v = json_string(s);
    prop_auto_free char *text = v != NULL ? prop_json_compact(v) : NULL;
    return text != NULL ? prop_buf_puts(out, text, err) : prop_err_nomem(err);
}

static int put_claim(struct prop_buf *out, const struct prop_policy_tee *tee,
                     const char *const *path, struct prop_err *err)
{
    int rc = prop_buf_printf(out, err, "evidence.%s", tee->name);
    for (size_t i = 0; rc == 0 && path[i] != NULL; i++)
        rc = prop_buf_printf(out, err, ".%s", path[i]);
    return rc;
}

/* "debugged" for each tee that tells: anything but false (or 0, as some servers write it). */
static int put_debug_rules(struct prop_buf *out, struct prop_err *err)
{
    int rc = 0;
    for (const struct prop_policy_tee *t = prop_policy_tee_table(); rc == 0 && t->name != NULL; t++) {
        if (t->debug == NULL)
            continue;
        rc = prop_buf_puts(out, "debugged if {\n\tdebug := ", err);
        if (rc == 0)
            rc = put_claim(out, t, t->debug, err);
        if (rc == 0)
            rc = prop_buf_puts(out, "\n\tnot debug in {false, 0}\n}\n\n", err);
    }
    return rc;
}

/* The comment of a rule, line by line. */
static int put_comment(struct prop_buf *out, const json_t *comment, struct prop_err *err)
{
    const char *p = json_string_value(comment);
    size_t left = json_string_length(comment);
    while (p != NULL && left > 0) {
        const char *nl = memchr(p, '\n', left);
        size_t len = nl != NULL ? (size_t)(nl - p) : left;
        char line[8200]; /* \xNN for each of the longest comment's bytes */
        int rc = prop_buf_printf(out, err, "# %s\n", prop_printable(p, len, line, sizeof line));
        if (rc != 0)
            return rc;
        len += nl != NULL;
        p += len;
        left -= len;
    }
    return 0;
}

/* Conditions for one part of a pattern with a "*". */
static int put_part(struct prop_buf *out, size_t i, const char *part, size_t len,
                    struct prop_err *err)
{
    const char *star = memchr(part, '*', len);
    prop_auto_free char *all = prop_strndup(part, len);
    prop_auto_free char *before =
        star != NULL ? prop_strndup(part, (size_t)(star - part)) : prop_strdup("");
    if (all == NULL || before == NULL)
        return prop_err_nomem(err);
    if (star == NULL) {
        int rc = prop_buf_printf(out, err, "\tparts[%zu] == ", i);
        if (rc == 0)
            rc = put_json(out, all, err);
        return rc == 0 ? prop_buf_puts(out, "\n", err) : rc;
    }
    const char *after = all + strlen(before) + 1;
    size_t least = strlen(before) + strlen(after);
    int rc = 0;
    if (*before != 0) {
        rc = prop_buf_printf(out, err, "\tstartswith(parts[%zu], ", i);
        if (rc == 0)
            rc = put_json(out, before, err);
        if (rc == 0)
            rc = prop_buf_puts(out, ")\n", err);
    }
    if (rc == 0 && *after != 0) {
        rc = prop_buf_printf(out, err, "\tendswith(parts[%zu], ", i);
        if (rc == 0)
            rc = put_json(out, after, err);
        if (rc == 0)
            rc = prop_buf_puts(out, ")\n", err);
    }
    /* Start and end must not overlap, and an empty part is none. */
    if (rc == 0 && (least == 0 || (*before != 0 && *after != 0)))
        rc = prop_buf_printf(out, err, "\tcount(parts[%zu]) >= %zu\n", i, least > 0 ? least : 1);
    return rc;
}

static int put_resource(struct prop_buf *out, const char *pattern, struct prop_err *err)
{
    if (strchr(pattern, '*') == NULL) {
        int rc = prop_buf_puts(out, "\tpath == ", err);
        if (rc == 0)
            rc = put_json(out, pattern, err);
        return rc == 0 ? prop_buf_puts(out, "\n", err) : rc;
    }
    int rc = prop_buf_puts(out, "\tcount(parts) == 3\n", err);
    for (size_t i = 0; rc == 0 && *pattern != 0; i++) {
        size_t len = strcspn(pattern, "/");
        rc = put_part(out, i, pattern, len, err);
        pattern += len + (pattern[len] == '/');
    }
    return rc;
}

static int put_measurement(struct prop_buf *out, const struct prop_policy_tee *tee,
                           const json_t *list, struct prop_err *err)
{
    int rc = prop_buf_puts(out, "\t", err);
    if (rc == 0)
        rc = put_claim(out, tee, tee->measurement, err);
    if (rc == 0)
        rc = prop_buf_puts(out, " in {\n", err);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        rc = prop_buf_puts(out, "\t\t", err);
        if (rc == 0)
            rc = put_json(out, json_string_value(json_array_get(list, i)), err);
        if (rc == 0)
            rc = prop_buf_puts(out, ",\n", err);
    }
    return rc == 0 ? prop_buf_puts(out, "\t}\n", err) : rc;
}

static int put_who(struct prop_buf *out, const json_t *rule, struct prop_err *err)
{
    const char *name = json_string_value(json_object_get(rule, "tee"));
    const char *tier = json_string_value(json_object_get(rule, "tier"));
    const json_t *measurement = json_object_get(rule, "measurement");
    const struct prop_policy_tee *tee = name != NULL ? prop_policy_tee_find(name) : NULL;
    int rc = 0;
    if (tee == NULL || !tee->sample)
        rc = prop_buf_puts(out, "\thardware\n", err);
    if (rc == 0 && tee != NULL)
        rc = prop_buf_printf(out, err, "\t\"%s\" in claims\n", tee->name);
    if (rc == 0 && tier != NULL)
        rc = prop_buf_puts(out, strcmp(tier, "warning") == 0
                                    ? "\tstatus in {\"affirming\", \"warning\"}\n"
                                    : "\tstatus == \"affirming\"\n",
                           err);
    if (rc == 0 && measurement != NULL && tee != NULL)
        rc = put_measurement(out, tee, measurement, err);
    return rc;
}

static int put_rule(struct prop_buf *out, const json_t *rule, size_t number, struct prop_err *err)
{
    const char *tee = json_string_value(json_object_get(rule, "tee"));
    const struct prop_policy_tee *t = tee != NULL ? prop_policy_tee_find(tee) : NULL;
    int rc = prop_buf_printf(out, err, "# Rule %zu%s\n", number,
                             t != NULL && t->sample
                                 ? ": for tests only, lets anybody in who reaches the server"
                             : json_object_get(rule, "allow_any_guest") != NULL
                                 ? ": every guest on such hardware, whatever runs in it"
                                 : "");
    if (rc == 0)
        rc = put_comment(out, json_object_get(rule, "comment"), err);
    if (rc == 0)
        rc = prop_buf_puts(out, "allow if {\n", err);
    if (rc == 0)
        rc = put_resource(out, json_string_value(json_object_get(rule, "resource")), err);
    if (rc == 0)
        rc = put_who(out, rule, err);
    return rc == 0 ? prop_buf_puts(out, "}\n", err) : rc;
}

int prop_policy_build(const struct prop_policy_doc *d, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    const json_t *rules = prop_policy_doc_rules(d);
    int rc = prop_buf_puts(&text, head, err);
    if (rc == 0)
        rc = put_debug_rules(&text, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(rules); i++) {
        if (i > 0)
            rc = prop_buf_puts(&text, "\n", err);
        if (rc == 0)
            rc = put_rule(&text, json_array_get(rules, i), i + 1, err);
    }
    if (rc == PROP_E_LIMIT)
        return prop_err_set_id(err, PROP_E_LIMIT, "policy-size",
                               "the policy built from %zu rules is longer than %u bytes",
                               json_array_size(rules), PROP_LIMIT_POLICY);
    return rc == 0 ? prop_buf_add(out, text.data, text.len, err) : rc;
}

/* `data` as the current KBS gives it (kbs.md 4.1). Owned. */
static json_t *request_data(const char *path)
{
    json_t *parts = json_array();
    for (const char *p = path; parts != NULL;) {
        size_t len = strcspn(p, "/");
        if (json_array_append_new(parts, json_stringn(p, len)) != 0) {
            json_decref(parts);
            return NULL;
        }
        p += len;
        if (*p == 0)
            break;
        p++;
    }
    return parts != NULL ? json_pack("{s:s, s:o, s:{}}", "plugin", "resource", "resource-path",
                                     parts, "query")
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
