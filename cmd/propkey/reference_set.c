/* propkey reference-value set: what attested guests are compared with. */
#include "cmd/propkey/reference.h"
#include "cmd/propkey/verbs.h"

#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

struct set_opts {
    struct propkey_reference_opts r;
    const char *file;
};

static const struct prop_opt options[] = {
    { "file", 'f', PROP_OPT_STRING, "FILE", "a JSON object of names and values (- for stdin)",
      offsetof(struct set_opts, file), NULL, NULL, false },
    PROPKEY_REFERENCE_OPTIONS(struct set_opts, r),
    PROP_OPT_END
};

/* NAME=JSON */
static int add_argument(json_t *values, const char *arg, struct prop_err *err)
{
    const char *eq = strchr(arg, '=');
    prop_auto_json json_t *v = NULL;
    if (!eq || eq == arg) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-reference-argument", "'%s' is not NAME=JSON", arg);
        return prop_err_hint(err, "write svn='[\"1\"]' or major_version=1");
    }
    prop_auto_free char *name = prop_strndup(arg, (size_t)(eq - arg));
    if (!name)
        return prop_err_nomem(err);
    int rc = prop_json_parse(eq + 1, strlen(eq + 1), name, &v, err);
    if (rc == PROP_E_INPUT)
        (void)prop_err_hint(err, "values are JSON; a text is written %s='\"...\"', a list of texts "
                                 "%s='[\"...\"]'", name, name);
    if (rc < 0)
        return rc;
    if (json_object_get(values, name))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-reference-argument", "'%s' is given twice",
                               name);
    return json_object_set(values, name, v) == 0
               ? 0
               : prop_err_set_id(err, PROP_E_INPUT, "bad-reference-name",
                                 "a name of a reference value is not UTF-8 text");
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct set_opts *o = opts;
    prop_auto_json json_t *values = NULL;
    int rc = 0;
    if (!o->file && prop_cli_argc(cli) == 0) {
        prop_err_set_id(err, PROP_E_USAGE, "no-reference-values", "there is nothing to set");
        return prop_err_hint(err, "give NAME=JSON, or -f FILE with a JSON object");
    }
    if (o->file)
        rc = prop_json_parse_file(o->file, PROP_LIMIT_KBS_BODY, &values, err);
    if (rc == 0 && values && !json_is_object(values))
        rc = prop_err_set_id(err, PROP_E_INPUT, "no-reference-values",
                             "'%s' is not a JSON object of names and values", o->file);
    if (rc == 0 && !values && !(values = json_object()))
        rc = prop_err_nomem(err);
    for (int i = 0; rc == 0 && i < prop_cli_argc(cli); i++)
        rc = add_argument(values, prop_cli_arg(cli, i), err);
    return rc < 0 ? rc : propkey_reference_apply(cli, &o->r, values, NULL, err);
}

const struct prop_verb propkey_verb_reference_value_set = {
    "reference-value set", "[NAME=JSON...]", "add reference values at the key broker",
    "A key broker replaces the whole value of a name and has no append, so what is there is\n"
    "read, lists are united with it, the result is posted, read back and compared. A value that\n"
    "is there and would be lost is never dropped without --replace. Shapes are checked against\n"
    "the names of the shipped attestation policy: a list where one value is compared matches\n"
    "nothing, silently. Changes from one machine wait for each other; between machines nothing\n"
    "can.\n"
    "\n"
    "  propkey reference-value set svn='[\"1\"]' major_version=1 minimum_minor_version=4",
    options, sizeof(struct set_opts), 0, -1, run
};
