/* propkey attestation-policy set: how evidence is turned into a trust vector. */
#include "cmd/cli/kbs_opts.h"
#include "cmd/propkey/verbs.h"

#include "cmd/propkey/attestation_check.h"
#include "cmd/propkey/keyout.h"
#include "crypto/digest.h"
#include "engine/rego.h"
#include "policy/lint.h"
#include "policy/reference.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct set_opts {
    struct prop_kbs_opts kbs;
    const char *id;
    bool dry_run, ignore_lint;
};

static const struct prop_opt options[] = {
    { "id", 0, PROP_OPT_STRING, "ID", "which policy: default_cpu, default_gpu, ...",
      offsetof(struct set_opts, id), NULL, "default_cpu", false },
    PROP_KBS_OPTIONS(struct set_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct set_opts, kbs),
    { "ignore-lint", 0, PROP_OPT_FLAG, NULL, "upload it although lint finds errors",
      offsetof(struct set_opts, ignore_lint), NULL, NULL, false },
    { "dry-run", 0, PROP_OPT_FLAG, NULL, "check everything here, upload nothing",
      offsetof(struct set_opts, dry_run), NULL, NULL, false },
    PROP_OPT_END
};

/* A KBS evaluates the set "default" only, one policy per class of devices (kbs.md 4.2). */
static int check_id(struct prop_cli *cli, const char *id, struct prop_err *err)
{
    static const char *const used[] = { "default_cpu", "default_gpu", "default_switch",
                                        "default_ppcie" };
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";
    if (!*id || strspn(id, ok) != strlen(id) || strstr(id, "..")) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-policy-id", "'%s' is no id of a policy", id);
        return prop_err_hint(err, "a KBS evaluates default_cpu, default_gpu, default_switch and "
                                  "default_ppcie");
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(used); i++)
        if (strcmp(id, used[i]) == 0)
            return 0;
    prop_cli_warn(cli, "a KBS stores a policy '%s' and never evaluates it: it uses default_cpu, "
                       "default_gpu, default_switch and default_ppcie", id);
    return 0;
}

/* Without package and rule the server sets every claim to nothing, silently. */
static int check_rules(const char *file, struct prop_rego *r, struct prop_err *err)
{
    prop_auto_json json_t *d = NULL;
    size_t i;
    json_t *rule;
    bool found = false;
    int rc = prop_rego_describe(r, &d, err);
    if (rc < 0)
        return rc;
    const char *package = json_string_value(json_object_get(d, "package"));
    json_array_foreach(json_object_get(d, "rules"), i, rule)
        found = found || (json_is_string(rule) &&
                          strcmp(json_string_value(rule), "trust_claims") == 0);
    if (!package || strcmp(package, "data.policy") != 0) {
        prop_err_set_id(err, PROP_E_INPUT, "policy-package",
                        "'%s': the package is '%s', not 'policy'", file, package ? package : "");
        return prop_err_hint(err, "the KBS evaluates data.policy.trust_claims and nothing else");
    }
    if (!found) {
        prop_err_set_id(err, PROP_E_INPUT, "policy-rule", "'%s' has no rule 'trust_claims'", file);
        return prop_err_hint(err, "the KBS would set every claim to 0 and the status to none");
    }
    return 0;
}

static int check_text(struct prop_cli *cli, const char *file, const char *rego, size_t len,
                      struct prop_err *err)
{
    prop_auto_rego struct prop_rego *r = NULL;
    struct prop_err local = PROP_ERR_INIT;
    int rc = prop_rego_new(file, rego, len, &r, NULL, &local);
    if (rc == 0) {
        rc = check_rules(file, r, err);
        return rc < 0 ? rc : propkey_attestation_check(r, file, err);
    }
    if (strcmp(prop_err_id(&local), "no-engine") == 0) {
        prop_cli_note(cli, "this build cannot parse Rego: the key broker will");
        return 0;
    }
    if (err)
        *err = local;
    return rc;
}

/* What attestation-policy lint says: warnings are passed on, the first error ends it. */
static int lint(struct prop_cli *cli, const char *file, const struct prop_buf *text, bool ignore,
                struct prop_err *err)
{
    prop_auto_json json_t *shapes = prop_policy_reference_shapes();
    prop_auto_json json_t *findings = NULL;
    struct prop_lint_options lo = { .shapes = shapes };
    struct prop_err local = PROP_ERR_INIT;
    size_t i;
    json_t *one;
    int rc = shapes ? prop_attestation_lint(file, prop_buf_str(text), text->len, &lo, &findings,
                                            &local)
                    : prop_err_nomem(&local);
    if (rc < 0 && err && rc != PROP_E_UNSUPPORTED)
        *err = local;
    if (rc < 0)
        return rc == PROP_E_UNSUPPORTED ? 0 : rc; /* a build without the engine */
    json_array_foreach(findings, i, one) {
        long long line = (long long)json_integer_value(json_object_get(one, "line"));
        const char *severity = json_string_value(json_object_get(one, "severity"));
        const char *says = json_string_value(json_object_get(one, "message"));
        if (!severity || !says || strcmp(severity, "note") == 0)
            continue;
        if (strcmp(severity, "error") != 0 || ignore) {
            prop_cli_warn(cli, "'%s' line %lld: %s", file, line, says);
            continue;
        }
        prop_err_set_id(err, PROP_E_INPUT, "policy-lint", "'%s' line %lld: %s", file, line, says);
        return prop_err_hint(err, "propkey attestation-policy lint shows all that was found; "
                                  "--ignore-lint uploads it all the same");
    }
    return 0;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct set_opts *o = opts;
    const char *file = prop_cli_arg(cli, 0);
    struct prop_digest d;
    char digest[PROP_DIGEST_TEXT];
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = prop_file_read(file, &text, err);
    if (rc == 0)
        rc = check_text(cli, file, prop_buf_str(&text), text.len, err);
    if (rc == 0)
        rc = lint(cli, file, &text, o->ignore_lint, err);
    if (rc == 0)
        rc = check_id(cli, o->id, err);
    if (rc == 0)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &k, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, prop_buf_str(&text), text.len, &d, err);
    if (rc == 0 && !o->dry_run)
        rc = prop_kbs_set_attestation_policy(k, o->id, prop_buf_str(&text), text.len, err);
    if (rc < 0)
        return rc;
    if (!o->dry_run)
        prop_cli_note(cli, "no key broker gives an attestation policy back: keep '%s' in version "
                           "control", file);
    prop_auto_json json_t *doc =
        json_pack("{s:o,s:s,s:s,s:s,s:b,s:b}", "policy", propkey_name(file), "id", o->id, "kbs",
                  prop_kbs_url(k), "digest", prop_digest_format(&d, digest), "uploaded",
                  !o->dry_run, "read_back", 0);
    if (!doc)
        return prop_err_nomem(err);
    if (!o->dry_run)
        prop_kbs_opts_say_form(cli, k, doc);
    return prop_cli_result(cli, doc, NULL, err);
}

const struct prop_verb propkey_verb_attestation_policy_set = {
    "attestation-policy set", "FILE", "replace an attestation policy of the key broker",
    "The policy is Rego, package policy, with a rule trust_claims. It is parsed and linted here\n"
    "first, with the engine Trustee uses. A key broker keeps one policy per id and gives none of them\n"
    "back.\n"
    "\n"
    "  propkey attestation-policy set cpu.rego --kbs https://kbs.example.com --admin-key admin.key",
    options, sizeof(struct set_opts), 1, 1, run
};
