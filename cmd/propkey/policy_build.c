/* propkey policy build: the Rego that a policy document stands for. */
#include "cmd/propkey/policy_upload.h"
#include "cmd/propkey/verbs.h"

#include "policy/document.h"
#include "util/file.h"
#include "util/limits.h"

#include <string.h>

#define POLICY_MODE 0644 /* a policy is no secret: people keep it in git */

struct policy_build_opts {
    const char *out;
    struct prop_strs measured;
    bool force;
};

static const struct prop_opt options[] = {
    { "output", 'o', PROP_OPT_STRING, "FILE", "write the Rego here, not to standard output",
      offsetof(struct policy_build_opts, out), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace an existing file",
      offsetof(struct policy_build_opts, force), NULL, NULL, false },
    PROPKEY_MEASURED_OPTION(struct policy_build_opts),
    PROP_OPT_END
};

static int build(const struct policy_build_opts *o, const char *path, struct prop_buf *rego,
                 size_t *ret_rules, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_policy_doc struct prop_policy_doc *doc = NULL;
    prop_auto_json json_t *measured = NULL;
    prop_auto_free char *what = prop_asprintf("'%s'", path);
    int rc = what ? prop_file_read(path, &text, err) : prop_err_nomem(err);
    if (!rc)
        rc = propkey_policy_measured(&o->measured, &measured, err);
    if (!rc)
        rc = prop_policy_doc_parse(prop_buf_str(&text), text.len, what, &doc, err);
    if (!rc && o->measured.n > 0)
        rc = prop_policy_doc_measure(doc, measured, err);
    if (!rc)
        rc = prop_policy_build(doc, rego, err);
    if (!rc)
        *ret_rules = json_array_size(prop_policy_doc_rules(doc));
    return rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct policy_build_opts *o = opts;
    const char *path = prop_cli_arg(cli, 0);
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    size_t rules = 0;
    int rc = build(o, path, &rego, &rules, err);
    if (rc)
        return rc;
    bool to_file = o->out && strcmp(o->out, "-") != 0;
    if (!to_file && !prop_cli_json(cli))
        return prop_cli_write(cli, rego.data, rego.len, err);
    if (to_file)
        rc = prop_file_write(o->out, rego.data, rego.len, POLICY_MODE, o->force, err);
    if (rc)
        return rc;
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:I,s:s*,s:s*}", "document", path, "rules", (json_int_t)rules, "file",
                  to_file ? o->out : NULL, "rego", to_file ? NULL : prop_buf_str(&rego));
    return doc ? prop_cli_result(cli, doc, NULL, err) : prop_err_nomem(err);
}

const struct prop_verb propkey_verb_policy_build = {
    "policy build", "DOCUMENT", "turn a policy document into Rego",
    "The document is TOML or JSON: \"version = 1\" and a [[rule]] for each resource, which says who\n"
    "may have it; 'propkey policy schema' prints all that can be said. Rules with measured = true, or\n"
    "measured = \"NAME\", take their values from the files of --measured. The Rego works with current\n"
    "and older servers; 'policy set' takes the document itself.",
    options, sizeof(struct policy_build_opts), 1, 1, run
};
