/* Rego v1 from the rules. The text is meant to be read by people in a review: one helper part that
 * holds what the rules use, then one commented allow rule per rule of the document. Every string
 * goes through the JSON string escaper, and comments through prop_printable, so nothing in a
 * document can end the place it is put in. */
#include "policy/build.h"

#include "policy/conditions.h"
#include "policy/document.h"
#include "policy/pattern.h"
#include "policy/rule.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>

enum { lines_max = 20000 }; /* of one policy, in the engine key brokers use */

/* --- the helper part --------------------------------------------------------------------------- */

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
    "\n";

static const char parts[] = "parts := split(path, \"/\")\n\n";

static const char guest[] =
    "# What the verifier says about the guest: \"cpu0\" since v0.14, \"cpu\" before.\n"
    "cpu := input.submods.cpu0\n"
    "\n"
    "cpu := input.submods.cpu if not input.submods.cpu0\n"
    "\n"
    "evidence := cpu[\"ear.veraison.annotated-evidence\"]\n"
    "\n"
    "claims := object.keys(evidence)\n"
    "\n";

static const char status[] = "status := cpu[\"ear.status\"]\n\n";

static const char vector[] =
    "# What it says about one thing: from 2 to 31 is good.\n"
    "verdict(claim, least, most) if {\n"
    "\tvalue := cpu[\"ear.trustworthiness-vector\"][claim]\n"
    "\tis_number(value)\n"
    "\tvalue >= least\n"
    "\tvalue <= most\n"
    "}\n"
    "\n";

static const char at_least[] =
    "# A text is greater than any number in Rego, and must not count.\n"
    "at_least(value, least) if {\n"
    "\tis_number(value)\n"
    "\tvalue >= least\n"
    "}\n"
    "\n";

static const char images[] =
    "# The guest may run these images and no others; one that is named by a tag could be anything.\n"
    "images := cpu[\"ear.trustee.identifiers\"].validated.container_images\n"
    "\n"
    "images_among(digests) if {\n"
    "\tis_array(images)\n"
    "\tcount(images) > 0\n"
    "\tevery image in images {\n"
    "\t\tis_string(image)\n"
    "\t\tsome digest in digests\n"
    "\t\tendswith(concat(\"\", [\"@\", image]), concat(\"\", [\"@\", digest]))\n"
    "\t}\n"
    "}\n"
    "\n";

static const char hardware[] =
    "# Anybody can make sample evidence.\n"
    "sample if \"sample\" in claims\n"
    "\n"
    "sample if \"sampledevice\" in claims\n"
    "\n"
    "# A TPM by itself hides nothing of a guest from its host.\n"
    "bare_tpm if \"tpm\" in claims\n"
    "\n"
    "genuine if {\n"
    "\tcount(claims) > 0\n"
    "\tnot sample\n"
    "\tnot bare_tpm\n"
    "\tnot debugged\n"
    "}\n"
    "\n"
    "hardware if {\n"
    "\tgenuine\n"
    "\tnot migratable\n"
    "}\n"
    "\n";

static const char why_debug[] =
    "# A guest whose memory its host may look into keeps no secret; one that does not say may be one.\n";
static const char why_migration[] =
    "# A migration agent holds all of the guest's memory, and no claim tells which agent it is.\n";

/* Which of the helpers the rules use. */
struct uses {
    bool parts, guest, status, vector, at_least, images, hardware;
};

static void look_at(struct uses *u, const json_t *rule, const json_t *conditions)
{
    const char *name = json_string_value(json_object_get(rule, "tee"));
    const struct prop_policy_tee *tee = name != NULL ? prop_policy_tee_find(name) : NULL;
    const char *pattern = json_string_value(json_object_get(rule, "resource"));
    size_t i;
    json_t *c;
    u->guest = true;
    u->parts = u->parts || strchr(pattern, '*') != NULL;
    u->status = u->status || json_object_get(rule, "tier") != NULL;
    u->hardware = u->hardware || tee == NULL || !tee->sample;
    json_array_foreach (conditions, i, c) {
        u->vector = u->vector || json_object_get(c, "claim") != NULL;
        u->images = u->images || json_object_get(c, "images") != NULL;
        u->at_least = u->at_least || (json_object_get(c, "path") != NULL &&
                                      json_object_get(c, "least") != NULL);
    }
}

static int put_json(struct prop_buf *out, const json_t *v, struct prop_err *err)
{
    prop_auto_free char *text = v != NULL ? prop_json_compact(v) : NULL;
    return text != NULL ? prop_buf_puts(out, text, err) : prop_err_nomem(err);
}

static int put_text(struct prop_buf *out, const char *s, size_t len, struct prop_err *err)
{
    prop_auto_json json_t *v = json_stringn(s, len);
    return put_json(out, v, err);
}

/* NAME for each tee that has such a claim: anything but false (or 0, as some servers write it). */
static int put_flag(struct prop_buf *out, const char *name, const char *tee,
                    const char *const *path, struct prop_err *err)
{
    if (path == NULL)
        return 0;
    int rc = prop_buf_printf(out, err, "%s if {\n\t\"%s\" in claims\n\tnot evidence.%s", name, tee,
                             tee);
    for (; rc == 0 && *path != NULL; path++)
        rc = prop_buf_printf(out, err, ".%s", *path);
    return rc == 0 ? prop_buf_puts(out, " in {false, 0}\n}\n\n", err) : rc;
}

static int put_hardware(struct prop_buf *out, struct prop_err *err)
{
    int rc = prop_buf_puts(out, hardware, err);
    if (rc == 0)
        rc = prop_buf_puts(out, why_debug, err);
    for (const struct prop_policy_tee *t = prop_policy_tee_table(); rc == 0 && t->name != NULL; t++)
        rc = put_flag(out, "debugged", t->name, t->debug, err);
    if (rc == 0)
        rc = prop_buf_puts(out, why_migration, err);
    for (const struct prop_policy_tee *t = prop_policy_tee_table(); rc == 0 && t->name != NULL; t++)
        rc = put_flag(out, "migratable", t->name, t->migration, err);
    return rc;
}

static int put_helpers(struct prop_buf *out, const struct uses *u, struct prop_err *err)
{
    const struct {
        bool used;
        const char *text;
    } helpers[] = {
        { true, head },           { u->parts, parts },       { u->guest, guest },
        { u->status, status },    { u->vector, vector },     { u->at_least, at_least },
        { u->images, images },
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(helpers); i++)
        if (helpers[i].used)
            rc = prop_buf_puts(out, helpers[i].text, err);
    return rc == 0 && u->hardware ? put_hardware(out, err) : rc;
}

/* --- one rule ---------------------------------------------------------------------------------- */

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

/* "\tFUNCTION(parts[i], TEXT)\n", or nothing for an empty text. */
static int put_part_call(struct prop_buf *out, const char *function, size_t i, const char *text,
                         size_t len, struct prop_err *err)
{
    if (len == 0)
        return 0;
    int rc = prop_buf_printf(out, err, "\t%s(parts[%zu], ", function, i);
    if (rc == 0)
        rc = put_text(out, text, len, err);
    return rc == 0 ? prop_buf_puts(out, ")\n", err) : rc;
}

/* Conditions for one part of a pattern with a "*". */
static int put_part(struct prop_buf *out, size_t i, const struct prop_policy_part *p,
                    struct prop_err *err)
{
    size_t least = p->n_before + p->n_after;
    int rc;
    if (!p->star) {
        rc = prop_buf_printf(out, err, "\tparts[%zu] == ", i);
        if (rc == 0)
            rc = put_text(out, p->before, p->n_before, err);
        return rc == 0 ? prop_buf_puts(out, "\n", err) : rc;
    }
    rc = put_part_call(out, "startswith", i, p->before, p->n_before, err);
    if (rc == 0)
        rc = put_part_call(out, "endswith", i, p->after, p->n_after, err);
    /* Start and end must not overlap, and an empty part is none. */
    if (rc == 0 && (least == 0 || (p->n_before > 0 && p->n_after > 0)))
        rc = prop_buf_printf(out, err, "\tcount(parts[%zu]) >= %zu\n", i, least > 0 ? least : 1);
    return rc;
}

static int put_resource(struct prop_buf *out, const char *pattern, struct prop_err *err)
{
    struct prop_policy_part p[3];
    if (strchr(pattern, '*') == NULL) {
        int rc = prop_buf_puts(out, "\tpath == ", err);
        if (rc == 0)
            rc = put_text(out, pattern, strlen(pattern), err);
        return rc == 0 ? prop_buf_puts(out, "\n", err) : rc;
    }
    prop_policy_pattern_parts(pattern, p);
    int rc = prop_buf_puts(out, "\tcount(parts) == 3\n", err);
    for (size_t i = 0; rc == 0 && i < 3; i++)
        rc = put_part(out, i, &p[i], err);
    return rc;
}

/* {"a", "b"}, one in a line when there are several. */
static int put_set(struct prop_buf *out, const json_t *values, struct prop_err *err)
{
    size_t n = json_array_size(values);
    int rc = prop_buf_puts(out, "{", err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = prop_buf_puts(out, n > 1 ? "\n\t\t" : "", err);
        if (rc == 0)
            rc = put_json(out, json_array_get(values, i), err);
        if (rc == 0 && n > 1)
            rc = prop_buf_puts(out, ",", err);
    }
    return rc == 0 ? prop_buf_puts(out, n > 1 ? "\n\t}" : "}", err) : rc;
}

/* A name that Rego takes behind a dot. */
static bool is_name(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char *const reserved[] = { "as",   "contains", "data",  "default", "else",
                                            "every", "false",    "if",    "import",  "in",
                                            "input", "not",      "null",  "package", "some",
                                            "true",  "with",     NULL };
    return *s != 0 && strchr(letters, *s) != NULL && !prop_policy_word_in(reserved, s) &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == strlen(s);
}

/* The engine does not undo escapes in a name between brackets, and takes no line over 1024
 * characters (a name has at most 500, rule_pins.c). */
static bool is_plain(const json_t *path)
{
    size_t len = 0;
    for (size_t i = 0; i < json_array_size(path); i++) {
        const char *s = json_string_value(json_array_get(path, i));
        for (; *s != 0; s++, len++)
            if ((unsigned char)*s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f)
                return false;
    }
    return len < 400;
}

static int put_long_path(struct prop_buf *out, const json_t *path, struct prop_err *err)
{
    int rc = prop_buf_puts(out, "object.get(evidence, [", err);
    for (size_t i = 0; rc == 0 && i < json_array_size(path); i++) {
        rc = prop_buf_puts(out, "\n\t\t", err);
        if (rc == 0)
            rc = put_json(out, json_array_get(path, i), err);
        if (rc == 0)
            rc = prop_buf_puts(out, ",", err);
    }
    return rc == 0 ? prop_buf_puts(out, "\n\t], null)", err) : rc;
}

static int put_path(struct prop_buf *out, const json_t *path, struct prop_err *err)
{
    if (!is_plain(path))
        return put_long_path(out, path, err);
    int rc = prop_buf_puts(out, "evidence", err);
    for (size_t i = 0; rc == 0 && i < json_array_size(path); i++) {
        const char *name = json_string_value(json_array_get(path, i));
        if (is_name(name)) {
            rc = prop_buf_printf(out, err, ".%s", name);
            continue;
        }
        rc = prop_buf_puts(out, "[", err);
        if (rc == 0)
            rc = put_json(out, json_array_get(path, i), err);
        if (rc == 0)
            rc = prop_buf_puts(out, "]", err);
    }
    return rc;
}

static int put_claim(struct prop_buf *out, const json_t *c, struct prop_err *err)
{
    const json_t *path = json_object_get(c, "path"), *values = json_object_get(c, "in");
    int rc = prop_buf_puts(out, values != NULL ? "\t" : "\tat_least(", err);
    if (rc == 0)
        rc = put_path(out, path, err);
    if (values == NULL)
        return rc == 0 ? prop_buf_printf(out, err, ", %lld)\n",
                                         (long long)json_integer_value(json_object_get(c, "least")))
                       : rc;
    bool one = json_array_size(values) == 1;
    if (rc == 0)
        rc = prop_buf_puts(out, one ? " == " : " in ", err);
    if (rc == 0)
        rc = one ? put_json(out, json_array_get(values, 0), err) : put_set(out, values, err);
    return rc == 0 ? prop_buf_puts(out, "\n", err) : rc;
}

static int put_condition(struct prop_buf *out, const json_t *c, struct prop_err *err)
{
    const json_t *set = json_object_get(c, "images");
    const char *claim = json_string_value(json_object_get(c, "claim"));
    if (set != NULL) {
        int rc = prop_buf_puts(out, "\timages_among(", err);
        if (rc == 0)
            rc = put_set(out, set, err);
        return rc == 0 ? prop_buf_puts(out, ")\n", err) : rc;
    }
    if (claim != NULL)
        return prop_buf_printf(out, err, "\tverdict(\"%s\", %lld, %lld)\n", claim,
                               (long long)json_integer_value(json_object_get(c, "least")),
                               (long long)json_integer_value(json_object_get(c, "most")));
    return put_claim(out, c, err);
}

static int put_who(struct prop_buf *out, const json_t *rule, const json_t *conditions,
                   struct prop_err *err)
{
    const char *name = json_string_value(json_object_get(rule, "tee"));
    const char *tier = json_string_value(json_object_get(rule, "tier"));
    const struct prop_policy_tee *tee = name != NULL ? prop_policy_tee_find(name) : NULL;
    int rc = 0;
    if (tee == NULL || !tee->sample)
        rc = prop_buf_puts(out, json_object_get(rule, "migration") != NULL ? "\tgenuine\n"
                                                                           : "\thardware\n",
                           err);
    if (rc == 0 && tee != NULL)
        rc = prop_buf_printf(out, err, "\t\"%s\" in claims\n", tee->name);
    if (rc == 0 && tier != NULL)
        rc = prop_buf_puts(out, strcmp(tier, "warning") == 0
                                    ? "\tstatus in {\"affirming\", \"warning\"}\n"
                                    : "\tstatus == \"affirming\"\n",
                           err);
    for (size_t i = 0; rc == 0 && i < json_array_size(conditions); i++)
        rc = put_condition(out, json_array_get(conditions, i), err);
    return rc;
}

static const char *remark(const json_t *rule)
{
    const char *name = json_string_value(json_object_get(rule, "tee"));
    const struct prop_policy_tee *tee = name != NULL ? prop_policy_tee_find(name) : NULL;
    if (tee != NULL && tee->sample)
        return ": for tests only, lets anybody in who reaches the server";
    if (json_object_get(rule, "allow_any_guest") != NULL)
        return ": every guest on such hardware, whatever runs in it";
    return json_object_get(rule, "migration") != NULL ? ": guests that may be migrated, too" : "";
}

static int put_rule(struct prop_buf *out, const json_t *rule, const json_t *conditions,
                    size_t number, struct prop_err *err)
{
    int rc = prop_buf_printf(out, err, "# Rule %zu%s\n", number, remark(rule));
    if (rc == 0)
        rc = put_comment(out, json_object_get(rule, "comment"), err);
    if (rc == 0)
        rc = prop_buf_puts(out, "allow if {\n", err);
    if (rc == 0)
        rc = put_resource(out, json_string_value(json_object_get(rule, "resource")), err);
    if (rc == 0)
        rc = put_who(out, rule, conditions, err);
    return rc == 0 ? prop_buf_puts(out, "}\n", err) : rc;
}

/* Conditions of every rule, and what they need. */
static int prepare(const json_t *rules, json_t *all, struct uses *u, struct prop_err *err)
{
    size_t i;
    json_t *rule;
    json_array_foreach (rules, i, rule) {
        json_t *conditions = NULL;
        if (json_object_get(rule, "measured") != NULL) {
            (void)prop_err_set_id(err, PROP_E_INPUT, "not-measured",
                                  "rule %zu of the document takes its values from a measurement, "
                                  "and none was given", i + 1);
            return prop_err_hint(err, "'propkey policy ... --measured FILE' fills it, with what 'propcvm vm "
                                      "measure --json' says");
        }
        int rc = prop_policy_conditions(rule, &conditions, err);
        if (rc != 0)
            return rc;
        if (json_array_append_new(all, conditions) != 0)
            return prop_err_nomem(err);
        look_at(u, rule, conditions);
    }
    return 0;
}

/* As the engine counts: one more than there are line ends. */
static size_t lines_of(const struct prop_buf *text)
{
    size_t n = 1;
    for (size_t i = 0; i < text->len; i++)
        n += text->data[i] == '\n';
    return n;
}

int prop_policy_build(const struct prop_policy_doc *d, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_json json_t *all = json_array();
    const json_t *rules = prop_policy_doc_rules(d);
    struct uses u = { false, false, false, false, false, false, false };
    if (all == NULL)
        return prop_err_nomem(err);
    int rc = prepare(rules, all, &u, err);
    if (rc == 0)
        rc = put_helpers(&text, &u, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(rules); i++) {
        if (i > 0)
            rc = prop_buf_puts(&text, "\n", err);
        if (rc == 0)
            rc = put_rule(&text, json_array_get(rules, i), json_array_get(all, i), i + 1, err);
    }
    if (rc == PROP_E_LIMIT || (rc == 0 && lines_of(&text) > lines_max)) {
        (void)prop_err_set_id(err, PROP_E_LIMIT, "policy-size",
                              "the policy built from %zu rules is longer than %u %s, and key brokers "
                              "refuse it",
                              json_array_size(rules), rc != 0 ? PROP_LIMIT_POLICY : (unsigned)lines_max,
                              rc != 0 ? "bytes" : "lines");
        return prop_err_hint(err, "a '*' in a resource stands for many of them");
    }
    return rc == 0 ? prop_buf_add(out, text.data, text.len, err) : rc;
}
