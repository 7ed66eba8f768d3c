/* propkey get: attest, and fetch a resource. */
#include "cmd/propkey/attestation.h"
#include "cmd/propkey/keyout.h"
#include "cmd/propkey/verbs.h"

#include "keys/keyfile.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>
#include <unistd.h>

enum { FILE_MODE = 0600, TOKEN_MAX = 256 << 10 };

struct get_opts {
    struct prop_kbs_opts kbs;
    struct propkey_attest_opts attest;
    const char *token;
    const char *out;
    bool force;
};

static const struct prop_opt options[] = {
    { "output", 'o', PROP_OPT_STRING, "FILE", "write it here (0600) instead of to stdout",
      offsetof(struct get_opts, out), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace FILE if it is there",
      offsetof(struct get_opts, force), NULL, NULL, false },
    PROP_KBS_OPTIONS(struct get_opts, kbs),
    PROP_KBS_TEE_OPTION(struct get_opts, kbs),
    PROPKEY_ATTEST_OPTIONS(struct get_opts, attest),
    { "token", 0, PROP_OPT_STRING, "FILE",
      "show this token instead of attesting; needs its --tee-key",
      offsetof(struct get_opts, token), NULL, NULL, false },
    { "attestation-token", 0, PROP_OPT_STRING, "FILE", "the same",
      offsetof(struct get_opts, token), NULL, NULL, true },
    PROP_OPT_END
};

/* Passport: a token from before, and the key it was issued to. */
static int fetch_with_token(struct prop_kbs *k, const struct get_opts *o,
                            const struct prop_resource_id *id, struct prop_secret **ret,
                            struct prop_err *err)
{
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_buf struct prop_buf token = PROP_BUF_INIT(TOKEN_MAX);
    if (!o->attest.tee_key) {
        prop_err_set_id(err, PROP_E_USAGE, "no-tee-key",
                        "--token needs the key it was issued to");
        return prop_err_hint(err, "give --tee-key");
    }
    int rc = prop_file_read(o->token, &token, err);
    if (rc == 0)
        rc = prop_keyfile_private(o->attest.tee_key, NULL, &key, NULL, err);
    if (rc < 0)
        return rc;
    while (token.len && strchr(" \t\r\n", (char)token.data[token.len - 1]))
        token.data[--token.len] = 0;
    const char *text = prop_buf_str(&token);
    if (!*text || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") !=
                      token.len)
        return prop_err_set_id(err, PROP_E_INPUT, "attestation-token", "'%s' holds no token",
                               o->token);
    return prop_kbs_get_resource_with_token(k, text, key, id, ret, err);
}

static int fetch_attested(struct prop_kbs *k, const struct get_opts *o,
                          const struct prop_resource_id *id, struct prop_secret **ret,
                          struct prop_err *err)
{
    struct prop_kbs_attest how;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_buf struct prop_buf init = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    int rc = propkey_attest_read(&o->kbs, &o->attest, &how, &key, &init, err);
    return rc < 0 ? rc : prop_kbs_get_resource(k, &how, id, ret, err);
}

/* stdout with --json: the value is what was asked for, so it is in the document. */
static int give(struct prop_cli *cli, const struct get_opts *o, const struct prop_resource_id *id,
                const struct prop_secret *value, struct prop_err *err)
{
    if (!o->out && !prop_cli_json(cli))
        return prop_cli_write(cli, prop_secret_data(value), prop_secret_len(value), err);
    prop_auto_free char *path = prop_resource_id_path(id);
    prop_auto_json json_t *doc =
        path ? json_pack("{s:s,s:I}", "path", path, "bytes", (json_int_t)prop_secret_len(value))
             : NULL;
    int rc = 0;
    if (doc && o->out) {
        rc = json_object_set_new(doc, "file", propkey_name(o->out));
    } else if (doc) {
        char *b64 = prop_b64_encode(PROP_B64_STD, prop_secret_data(value), prop_secret_len(value));
        rc = json_object_set_new(doc, "value", b64 ? json_string(b64) : NULL);
        if (b64)
            prop_wipe(b64, strlen(b64));
        prop_free(b64);
    }
    return doc && rc == 0 ? prop_cli_result(cli, doc, NULL, err) : prop_err_nomem(err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct get_opts *o = opts;
    struct prop_resource_id id;
    prop_auto_kbs struct prop_kbs *k = NULL;
    prop_auto_secret struct prop_secret *value = NULL;
    prop_auto_file_out struct prop_file_out f = PROP_FILE_OUT_INIT;
    if (o->out && strcmp(o->out, "-") == 0)
        o->out = NULL;
    int rc = prop_resource_id_parse(prop_cli_arg(cli, 0), false, &id, err);
    if (rc == 0)
        rc = prop_kbs_opts_open(&o->kbs, &k, err);
    if (rc == 0 && o->out) /* before anything is asked for: a file in the way costs nothing then */
        rc = prop_file_out_open(&f, o->out, FILE_MODE, o->force, err);
    if (rc == 0)
        rc = o->token ? fetch_with_token(k, o, &id, &value, err)
                      : fetch_attested(k, o, &id, &value, err);
    if (rc == 0 && o->out)
        rc = prop_file_out_write(&f, prop_secret_data(value), prop_secret_len(value), err);
    if (rc == 0 && o->out)
        rc = prop_file_out_commit(&f, err);
    return rc < 0 ? rc : give(cli, o, &id, value, err);
}

const struct prop_verb propkey_verb_get = {
    "get", "PATH", "attest this machine and fetch resource PATH",
    "Evidence comes from the machine's hardware. Sample evidence, which proves nothing, is sent\n"
    "with --tee sample only, and a key broker's default policy does not admit it.\n"
    "\n"
    "  propkey get default/key/app --kbs http://127.0.0.1:8080 --tee sample -o app.kek",
    options, sizeof(struct get_opts), 1, 1, run
};
