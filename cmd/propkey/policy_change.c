/* Both sides known, then the document changed, then the key broker, then the file. */
#include "cmd/propkey/policy_change.h"

#include "cmd/propkey/keyout.h"
#include "cmd/propkey/ledger.h"
#include "policy/compare.h"
#include "policy/example.h"
#include "util/file.h"
#include "util/limits.h"

#include <string.h>

void propkey_change_release(struct propkey_change *c)
{
    propkey_policy_close(&c->target);
    prop_policy_file_release(&c->file);
    prop_policy_doc_free(c->doc);
    json_decref(c->measured);
}

/* The document as it would be uploaded: with the values of --measured. */
static int filled(const struct propkey_change *c, struct prop_policy_doc **ret, struct prop_buf *rego,
                  struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    int rc = prop_policy_doc_write(c->doc, &text, err);
    if (rc == 0)
        rc = prop_policy_doc_parse(prop_buf_str(&text), text.len, "the document", &d, err);
    if (rc == 0 && c->opts->measured.n > 0)
        rc = prop_policy_doc_measure(d, c->measured, err);
    if (rc == 0)
        rc = prop_policy_build(d, rego, err);
    if (rc == 0)
        *ret = PROP_TAKE(d);
    return rc;
}

/* The document may be newer than this machine's ledger: what others put into it would go up with the
 * change, which only its reader can want. */
static int check_width(const struct propkey_change *c, const struct prop_policy_doc *d,
                       struct prop_err *err)
{
    prop_auto_json json_t *examples = NULL;
    prop_auto_buf struct prop_buf said = PROP_BUF_INIT(4096);
    unsigned change = 0;
    bool known = false;
    size_t i;
    json_t *e;
    if (c->opts->allow_wider)
        return 0;
    int rc = prop_policy_known_change(&c->target.last, prop_policy_doc_rules(d), &known, &change,
                                      &examples, err);
    if (rc < 0 || !known || (change & PROP_POLICY_WIDER) == 0)
        return rc;
    json_array_foreach(examples, i, e)
        if (said.len == 0 && strcmp(json_string_value(json_object_get(e, "change")), "wider") == 0)
            (void)prop_policy_example_say(e, &said, NULL);
    (void)prop_err_set_id(err, PROP_E_USAGE, "policy-wider",
                          "without the change already, the document gives out more than was uploaded "
                          "last from this machine: %s", prop_buf_str(&said));
    return prop_err_hint(err, "if that is meant to go up too, --allow-wider");
}

static int check_known(struct propkey_change *c, struct prop_err *err)
{
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    const char *url = prop_kbs_url(c->target.kbs);
    int rc = filled(c, &d, &rego, err);
    if (rc == 0)
        rc = prop_policy_known_kept(&c->target.last, url, d,
                                    c->opts->policy_doc ? c->opts->policy_doc : "the document", err);
    if (rc == 0)
        rc = propkey_policy_check_server(&c->target, err);
    return rc == 0 ? check_width(c, d, err) : rc;
}

int propkey_change_begin(struct propkey_change *c, struct prop_err *err)
{
    const struct propkey_change_opts *o = c->opts;
    int rc = propkey_policy_measured(&o->measured, &c->measured, err);
    if (rc < 0)
        return rc;
    if (o->no_upload && !o->policy_doc)
        return prop_err_set_id(err, PROP_E_USAGE, "no-policy-doc",
                               "--no-upload changes a document: name it with --policy-doc");
    if (o->no_upload)
        rc = propkey_ledger_open(c->target.cli, &c->target.ledger, err); /* for its lock */
    else
        rc = propkey_policy_open(c->target.cli, &o->kbs, &c->target, err);
    if (rc < 0)
        return rc;
    if (o->policy_doc)
        rc = prop_policy_file_read(o->policy_doc, o->replace_policy || o->no_upload, &c->file, &c->doc,
                                   err);
    else
        rc = prop_policy_known_document(&c->target.last, prop_kbs_url(c->target.kbs),
                                        o->replace_policy, &c->doc, err);
    if (rc == 0)
        rc = prop_policy_file_check(&c->file, err);
    return rc == 0 && !o->no_upload && !o->replace_policy ? check_known(c, err) : rc;
}

static int only_edit(struct propkey_change *c, const struct prop_buf *text, json_t *more,
                     struct prop_err *err)
{
    int rc = c->opts->dry_run ? 0
                              : prop_file_write(c->file.path, text->data, text->len, c->file.mode,
                                                true, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc = json_pack("{s:o,s:b}", "policy", propkey_name(c->opts->policy_doc),
                                           "uploaded", 0);
    if (!doc || json_object_update(doc, more) != 0)
        return prop_err_nomem(err);
    return prop_cli_result(c->target.cli, doc, NULL, err);
}

int propkey_change_finish(struct propkey_change *c, json_t *more, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf plain = PROP_BUF_INIT(2 * PROP_LIMIT_POLICY);
    prop_auto_policy_doc struct prop_policy_doc *d = NULL;
    const struct propkey_change_opts *o = c->opts;
    int rc = prop_policy_doc_write(c->doc, &text, err);
    if (rc == 0 && o->no_upload)
        return only_edit(c, &text, more, err);
    if (rc == 0)
        rc = filled(c, &d, &rego, err);
    if (rc == 0 && o->measured.n > 0)
        rc = prop_policy_doc_plain(d, &plain, err);
    if (rc < 0)
        return rc;
    const struct propkey_policy_text p = {
        o->policy_doc ? o->policy_doc : "the document uploaded last",
        prop_buf_str(&rego),
        rego.len,
        o->measured.n > 0 ? prop_buf_str(&plain) : prop_buf_str(&text),
        c->file.path ? &c->file : NULL,
        &text,
        more,
        o->dry_run,
    };
    return propkey_policy_send(&c->target, &p, err);
}
