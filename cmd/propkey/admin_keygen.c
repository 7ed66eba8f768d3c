/* propkey admin-keygen: the key that signs admin tokens. */
#include "cmd/propkey/keyout.h"
#include "cmd/propkey/verbs.h"

struct keygen_opts {
    const char *out;
    bool force;
};

static const struct prop_opt options[] = {
    { "output", 'o', PROP_OPT_STRING, "FILE", "the private key; FILE.pub gets the public one",
      offsetof(struct keygen_opts, out), NULL, "admin.key", false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace files that are there",
      offsetof(struct keygen_opts, force), NULL, NULL, false },
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct keygen_opts *o = opts;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc = prop_pkey_generate(PROP_PKEY_ED25519, 0, &key, err);
    if (rc == 0)
        rc = propkey_write_pair(key, o->out, PROPKEY_PEM, o->force, &doc, err);
    return rc < 0 ? rc : prop_cli_result(cli, doc, NULL, err);
}

const struct prop_verb propkey_verb_admin_keygen = {
    "admin-keygen", "", "make the Ed25519 key pair of an administrator",
    "The public half (SubjectPublicKeyInfo PEM) goes into the key broker's configuration as\n"
    "public_key_uri, or auth_public_key of older servers; the private half (PKCS#8 PEM) signs\n"
    "tokens with --admin-key.",
    options, sizeof(struct keygen_opts), 0, 0, run
};
