/* propkey policy set: a policy document, or a Rego file, becomes the key broker's policy. */
#include "cmd/propkey/policy_upload.h"
#include "cmd/propkey/verbs.h"

#include "util/file.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>

static const struct prop_opt options[] = {
    PROPKEY_POLICY_OPTIONS,
    PROPKEY_MEASURED_OPTION(struct propkey_policy_opts),
    PROPKEY_WIDER_OPTION(struct propkey_policy_opts),
    PROP_OPT_END
};

/* The document's text, what it becomes, and what is to be remembered of it. */
static int build(const struct propkey_policy_opts *o, const char *path, const struct prop_buf *text,
                 struct prop_policy_doc **ret, struct prop_buf *rego, struct prop_buf *document,
                 struct prop_err *err)
{
    prop_auto_json json_t *measured = NULL;
    prop_auto_free char *what = prop_asprintf("'%s'", path);
    int rc = what ? propkey_policy_measured(&o->measured, &measured, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_policy_doc_parse(prop_buf_str(text), text->len, what, ret, err);
    if (rc == 0 && o->measured.n > 0)
        rc = prop_policy_doc_measure(*ret, measured, err);
    if (rc == 0)
        rc = prop_policy_build(*ret, rego, err);
    if (rc < 0)
        return rc;
    return o->measured.n > 0 ? prop_policy_doc_plain(*ret, document, err)
                             : prop_buf_add(document, text->data, text->len, err);
}

static int set_document(struct prop_cli *cli, const struct propkey_policy_opts *o, const char *path,
                        const struct prop_buf *text, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *doc = NULL;
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf document = PROP_BUF_INIT(2 * PROP_LIMIT_POLICY);
    propkey_auto_policy_target struct propkey_policy_target t = { cli, NULL, NULL,
                                                                  PROP_POLICY_KNOWN_INIT };
    prop_auto_json json_t *more = json_object();
    int rc = more ? build(o, path, text, &doc, &rego, &document, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = propkey_policy_open(cli, &o->kbs, &t, err);
    if (rc == 0)
        rc = propkey_policy_check_wider(&t, prop_policy_doc_rules(doc), o->allow_wider, more, err);
    if (rc < 0)
        return rc;
    json_int_t rules = (json_int_t)json_array_size(prop_policy_doc_rules(doc));
    if (json_object_set_new(more, "rules", json_integer(rules)) != 0)
        return prop_err_nomem(err);
    const struct propkey_policy_text p = { path, prop_buf_str(&rego), rego.len,
                                           prop_buf_str(&document), NULL, NULL, more, o->dry_run };
    return propkey_policy_send(&t, &p, err);
}

/* A name tells what a file is meant to be, so that what is wrong in it is said in the right words. */
static bool is_document(const char *path, const struct prop_buf *text)
{
    if (prop_ends_with(path, ".rego"))
        return false;
    return prop_ends_with(path, ".toml") || prop_ends_with(path, ".json") ||
           prop_policy_doc_looks_like(prop_buf_str(text), text->len);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct propkey_policy_opts *o = opts;
    const char *path = prop_cli_arg(cli, 0);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = prop_file_read(path, &text, err);
    if (rc < 0)
        return rc;
    if (text.len > 0 && is_document(path, &text))
        return set_document(cli, o, path, &text, err);
    if (text.len == 0 || memchr(text.data, 0, text.len))
        return prop_err_set_id(err, PROP_E_INPUT, "rego-syntax", "'%s' %s", path,
                               text.len ? "is not text" : "is empty");
    if (o->measured.n > 0)
        return prop_err_set_id(err, PROP_E_USAGE, "not-a-document",
                               "--measured fills policy documents, and '%s' is Rego", path);
    return propkey_policy_upload(cli, o, path, prop_buf_str(&text), text.len, o->allow_wider, err);
}

const struct prop_verb propkey_verb_policy_set = {
    "policy set", "FILE", "make a policy document, or a Rego file, the policy of the key broker",
    "A key broker has one policy for all its keys: this replaces it. A policy document (TOML or\n"
    "JSON) is built into Rego and compared, exactly, with the one uploaded last from this machine:\n"
    "it must not let in more, unless --allow-wider is given. What a Rego file lets in cannot be\n"
    "compared, so it always needs --allow-wider, unless it is the one uploaded last.",
    options, sizeof(struct propkey_policy_opts), 1, 1, run
};
