/* propkey policy schema: the schema of policy documents, for editors and other checkers. */
#include "cmd/propkey/verbs.h"

#include "policy/schema.h"

#include <string.h>

static const struct prop_opt options[] = { PROP_OPT_END };

static int take(const char *data, size_t len, void *out)
{
    return prop_buf_add(out, data, len, NULL);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    (void)opts;
    prop_auto_json json_t *schema = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(1u << 20);
    int rc = prop_policy_schema(&schema, err);
    if (rc < 0)
        return rc;
    if (prop_cli_json(cli))
        return prop_cli_result(cli, schema, NULL, err);
    rc = json_dump_callback(schema, take, &text, JSON_INDENT(2)) == 0 ? 0 : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_buf_puts(&text, "\n", err);
    return rc == 0 ? prop_cli_write(cli, text.data, text.len, err) : rc;
}

const struct prop_verb propkey_verb_policy_schema = {
    "policy schema", "", "print the JSON Schema of policy documents",
    "JSON Schema 2020-12; the copy in docs/policy-document.schema.json is this one.",
    options, 1, 0, 0, run
};
