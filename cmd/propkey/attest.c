/* propkey attest: a token for this machine. */
#include "cmd/propkey/attestation.h"
#include "cmd/propkey/verbs.h"

#include "util/limits.h"

#include <stdio.h>

struct attest_opts {
    struct prop_kbs_opts kbs;
    struct propkey_attest_opts attest;
};

static const struct prop_opt options[] = {
    PROP_KBS_OPTIONS(struct attest_opts, kbs),
    PROP_KBS_TEE_OPTION(struct attest_opts, kbs),
    PROPKEY_ATTEST_OPTIONS(struct attest_opts, attest),
    PROP_OPT_END
};

static void print_token(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s\n", json_string_value(json_object_get(doc, "token")));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct attest_opts *o = opts;
    struct prop_kbs_attest how;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_buf struct prop_buf init = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    prop_auto_buf struct prop_buf token = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    int rc = prop_kbs_opts_open(&o->kbs, &k, err);
    if (rc == 0)
        rc = propkey_attest_read(&o->kbs, &o->attest, &how, &key, &init, err);
    if (rc == 0)
        rc = prop_kbs_attest(k, &how, &token, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc = json_pack("{s:s,s:s}", "tee", prop_tee_name(how.tee), "token",
                                           prop_buf_str(&token));
    return doc ? prop_cli_result(cli, doc, print_token, err)
               : prop_err_set(err, PROP_E_REMOTE, "the key broker's token is not text");
}

const struct prop_verb propkey_verb_attest = {
    "attest", "", "attest this machine and print the token it gets",
    "With --tee-key the token can be shown later, with the same key, by\n"
    "propkey get --token.",
    options, sizeof(struct attest_opts), 0, 0, run
};
