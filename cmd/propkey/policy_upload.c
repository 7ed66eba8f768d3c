/* The way every resource policy takes to the server. */
#include "cmd/propkey/policy_upload.h"

#include "cmd/propkey/keyout.h"
#include "cmd/propkey/ledger.h"
#include "crypto/digest.h"
#include "engine/rego.h"
#include "policy/compare.h"
#include "policy/document.h"
#include "policy/example.h"
#include "policy/measured.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

/* Does the policy define what the server asks for? Anything else denies everybody, silently. */
static void check_rule(struct prop_cli *cli, struct prop_rego *r)
{
    prop_auto_json json_t *d = NULL;
    size_t i;
    json_t *rule;
    if (prop_rego_describe(r, &d, NULL) < 0)
        return;
    const char *package = json_string_value(json_object_get(d, "package"));
    bool found = false;
    json_array_foreach(json_object_get(d, "rules"), i, rule)
        found = found || (json_is_string(rule) && strcmp(json_string_value(rule), "allow") == 0);
    if (!package || strcmp(package, "data.policy") != 0)
        prop_cli_warn(cli, "the package is '%s', not 'policy': the key broker will deny everybody",
                      package ? package : "");
    else if (!found)
        prop_cli_warn(cli, "there is no rule 'allow': the key broker will deny everybody");
}

/* Parse with the engine the server uses; a build without it leaves that to the server. */
static int check_syntax(struct prop_cli *cli, const char *name, const char *rego, size_t len,
                        struct prop_err *err)
{
    prop_auto_rego struct prop_rego *r = NULL;
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_rego_new(name, rego, len, &r, NULL, &local);
    if (rc == 0) {
        check_rule(cli, r);
        return 0;
    }
    if (strcmp(prop_err_id(&local), "no-engine") == 0) {
        prop_cli_note(cli, "this build cannot parse Rego: the key broker will");
        return 0;
    }
    if (err)
        *err = local;
    return rc;
}

/* --- the target -------------------------------------------------------------------------------- */

int propkey_policy_open(struct prop_cli *cli, const struct prop_kbs_opts *o,
                        struct propkey_policy_target *ret, struct prop_err *err)
{
    struct propkey_policy_target t = { cli, NULL, NULL, PROP_POLICY_KNOWN_INIT };
    int rc = prop_kbs_opts_open_admin(cli, o, &t.kbs, err);
    if (rc == 0)
        rc = propkey_ledger_open(cli, &t.ledger, err);
    if (rc == 0)
        rc = prop_policy_known_read(t.ledger, prop_kbs_url(t.kbs), &t.last, err);
    if (rc == 0)
        *ret = t;
    else
        propkey_policy_close(&t);
    return rc;
}

void propkey_policy_close(struct propkey_policy_target *t)
{
    prop_policy_known_release(&t->last);
    prop_ledger_close(t->ledger);
    prop_kbs_free(t->kbs);
    t->ledger = NULL;
    t->kbs = NULL;
}

int propkey_policy_check_server(struct propkey_policy_target *t, struct prop_err *err)
{
    prop_auto_buf struct prop_buf answer = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    if (!t->last.rego || prop_kbs_get_policy(t->kbs, &answer, NULL) < 0 ||
        prop_buf_str(&answer)[0] == '[' ||
        prop_b64_decode(PROP_B64_URL, prop_buf_str(&answer), answer.len, "policy", &text, NULL) < 0)
        return 0;
    if (strcmp(prop_buf_str(&text), t->last.rego) == 0)
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "policy-differs",
                    "the policy on %s is not the one that was uploaded last from this machine",
                    prop_kbs_url(t->kbs));
    return prop_err_hint(err, "somebody else changed it: get their document, then --replace-policy "
                              "(add, remove) or --allow-wider (set, rollback)");
}

static bool is_text(const char *a, const char *b, size_t len)
{
    return a && strlen(a) == len && memcmp(a, b, len) == 0;
}

/* --- sending ----------------------------------------------------------------------------------- */

/* Remember it, unless it is what was remembered last. A ledger that fails loses nothing here. */
static void remember(struct propkey_policy_target *t, const struct propkey_policy_text *p)
{
    struct prop_err noted = PROP_ERR_INIT;
    bool same = is_text(t->last.rego, p->rego, p->len) &&
                (p->document ? t->last.document && strcmp(t->last.document, p->document) == 0
                             : !t->last.document);
    if (t->ledger && !same &&
        prop_ledger_add_policy(t->ledger, prop_kbs_url(t->kbs), p->rego, p->document, &noted) < 0)
        prop_cli_warn(t->cli, "the upload is not in this machine's ledger: %s", noted.message);
}

static int upload(struct propkey_policy_target *t, const struct propkey_policy_text *p,
                  struct prop_err *err)
{
    int rc = prop_kbs_set_policy(t->kbs, p->rego, p->len, err);
    if (rc < 0)
        return rc;
    /* The document first: killed in between, the next run finds a document that has all the ledger
     * knows of. The ledger also when the document cannot be written. */
    int written = p->file ? prop_policy_file_write(p->file, p->file_text, err) : 0;
    remember(t, p);
    if (written == 0)
        prop_cli_note(t->cli, "a key broker cannot compare and set: an upload from another machine is "
                              "seen by nobody here, so the document in git is what counts");
    return written;
}

int propkey_policy_send(struct propkey_policy_target *t, const struct propkey_policy_text *p,
                        struct prop_err *err)
{
    struct prop_digest d;
    char digest[PROP_DIGEST_TEXT];
    int rc = check_syntax(t->cli, p->name, p->rego, p->len, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, p->rego, p->len, &d, err);
    if (rc == 0 && !p->dry_run)
        rc = upload(t, p, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc = json_pack(
        "{s:o,s:s,s:s,s:b}", "policy", propkey_name(p->name), "kbs", prop_kbs_url(t->kbs), "digest",
        prop_digest_format(&d, digest), "uploaded", !p->dry_run);
    if (!doc || (p->more && json_object_update(doc, p->more) != 0))
        return prop_err_nomem(err);
    if (!p->dry_run)
        prop_kbs_opts_say_form(t->cli, t->kbs, doc);
    return prop_cli_result(t->cli, doc, NULL, err);
}

static int check_width(const struct propkey_policy_target *t, const char *rego, size_t len,
                       struct prop_err *err)
{
    if (is_text(prop_policy_preset("deny-all"), rego, len) || is_text(t->last.rego, rego, len))
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "policy-wider",
                    "this policy may let in more than the one it replaces");
    return prop_err_hint(err, "a key broker has one policy for all keys; if that is meant, "
                              "--allow-wider");
}

int propkey_policy_upload(struct prop_cli *cli, const struct propkey_policy_opts *o,
                          const char *name, const char *rego, size_t len, bool may_widen,
                          struct prop_err *err)
{
    propkey_auto_policy_target struct propkey_policy_target t = { cli, NULL, NULL,
                                                                  PROP_POLICY_KNOWN_INIT };
    /* The same text again keeps the document it is known to come from. */
    struct propkey_policy_text p = { .name = name, .rego = rego, .len = len, .dry_run = o->dry_run };
    int rc = propkey_policy_open(cli, &o->kbs, &t, err);
    if (rc == 0)
        rc = check_syntax(cli, name, rego, len, err);
    if (rc == 0 && !may_widen)
        rc = check_width(&t, rego, len, err);
    if (rc < 0)
        return rc;
    if (is_text(t.last.rego, rego, len))
        p.document = t.last.document;
    return propkey_policy_send(&t, &p, err);
}

/* --- documents --------------------------------------------------------------------------------- */

/* One line for those who lose something. */
static void say_narrower(struct prop_cli *cli, const json_t *examples)
{
    size_t i;
    json_t *e;
    json_array_foreach(examples, i, e) {
        prop_auto_buf struct prop_buf said = PROP_BUF_INIT(4096);
        if (strcmp(json_string_value(json_object_get(e, "change")), "narrower") == 0 &&
            prop_policy_example_say(e, &said, NULL) == 0) {
            prop_cli_warn(cli, "this policy takes away what the one before gave: %s",
                          prop_buf_str(&said));
            return;
        }
    }
}

static int tell_change(const char *change, json_t *examples, json_t *more, struct prop_err *err)
{
    if (json_object_set_new(more, "change", json_string(change)) != 0 ||
        (examples && json_object_set(more, "examples", examples) != 0))
        return prop_err_nomem(err);
    return 0;
}

int propkey_policy_check_wider(struct propkey_policy_target *t, const json_t *rules,
                               bool allow_wider, json_t *more, struct prop_err *err)
{
    static const char *const names[] = { "same", "wider", "narrower", "both" };
    prop_auto_json json_t *examples = NULL;
    unsigned change = 0;
    bool known = false;
    int rc = allow_wider ? 0 : propkey_policy_check_server(t, err);
    if (rc == 0 && !allow_wider)
        rc = prop_policy_known_not_wider(&t->last, rules, NULL, err);
    if (rc < 0)
        return rc;
    rc = prop_policy_known_change(&t->last, rules, &known, &change, &examples, err);
    if (rc == PROP_E_LIMIT) {
        prop_err_clear(err); /* nobody needs to know: more may be let in */
        known = false;
    } else if (rc < 0) {
        return rc;
    }
    if (known)
        say_narrower(t->cli, examples);
    return tell_change(known ? names[change & 3] : "unknown", known ? examples : NULL, more, err);
}

int propkey_policy_measured(const struct prop_strs *files, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *list = json_array();
    int rc = list ? 0 : prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < files->n; i++)
        rc = prop_policy_measured_read(list, files->items[i], err);
    if (rc == 0)
        *ret = PROP_TAKE(list);
    return rc;
}
