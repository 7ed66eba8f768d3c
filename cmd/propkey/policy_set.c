/* propkey policy set: a Rego file becomes the key broker's policy. */
#include "cmd/propkey/policy_upload.h"
#include "cmd/propkey/verbs.h"

#include "util/file.h"
#include "util/limits.h"

#include <string.h>

static const struct prop_opt options[] = {
    PROPKEY_POLICY_OPTIONS,
    { "allow-wider", 0, PROP_OPT_FLAG, NULL, "the policy may let in more than the one before",
      offsetof(struct propkey_policy_opts, allow_wider), NULL, NULL, false },
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct propkey_policy_opts *o = opts;
    const char *path = prop_cli_arg(cli, 0);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = prop_file_read(path, &text, err);
    if (rc < 0)
        return rc;
    if (text.len == 0 || memchr(text.data, 0, text.len))
        return prop_err_set_id(err, PROP_E_INPUT, "rego-syntax", "'%s' %s", path,
                               text.len ? "is not text" : "is empty");
    return propkey_policy_upload(cli, o, path, prop_buf_str(&text), text.len, o->allow_wider, err);
}

const struct prop_verb propkey_verb_policy_set = {
    "policy set", "FILE", "make a Rego file the policy of the key broker",
    "A key broker has one policy for all its keys: this replaces it. The file is parsed here\n"
    "first. What it lets in cannot be compared with what is there, so --allow-wider is needed\n"
    "unless the file is the one uploaded last from this machine.",
    options, sizeof(struct propkey_policy_opts), 1, 1, run
};
