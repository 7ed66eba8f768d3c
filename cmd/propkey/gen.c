/* propkey gen: KEKs and key pairs. */
#include "cmd/propkey/keyout.h"
#include "cmd/propkey/verbs.h"

#include "crypto/random.h"
#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

enum { KEK_LEN = 32, KEK_MODE = 0600, RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192 };

struct gen_opts {
    const char *type;
    const char *format;
    uint64_t bits;
    bool force, no_keep;
};

static const struct prop_opt options[] = {
    { "type", 't', PROP_OPT_STRING, "TYPE",
      "kek, rsa (rsa2048, rsa3072, rsa4096), ec (p256), p384, p521 or ed25519",
      offsetof(struct gen_opts, type), NULL, "kek", false },
    { "format", 0, PROP_OPT_STRING, "FORMAT",
      "of a KEK: raw (default) or base64; of a pair: pem (default) or jwk",
      offsetof(struct gen_opts, format), NULL, NULL, false },
    { "bits", 0, PROP_OPT_U64, "N", "size of an RSA key", offsetof(struct gen_opts, bits), NULL,
      "3072", false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace files that are there",
      offsetof(struct gen_opts, force), NULL, NULL, false },
    { "no-keep", 0, PROP_OPT_FLAG, NULL, "do not keep a copy of the KEK in the data folder",
      offsetof(struct gen_opts, no_keep), NULL, NULL, false },
    PROP_OPT_END
};

static const struct key_type {
    const char *name;
    enum prop_pkey_type type;
    unsigned bits; /* of RSA; 0 = as --bits says */
} types[] = {
    { "rsa", PROP_PKEY_RSA, 0 },         { "rsa2048", PROP_PKEY_RSA, 2048 },
    { "rsa3072", PROP_PKEY_RSA, 3072 },  { "rsa4096", PROP_PKEY_RSA, 4096 },
    { "ec", PROP_PKEY_P256, 0 },         { "p256", PROP_PKEY_P256, 0 },
    { "p384", PROP_PKEY_P384, 0 },       { "p521", PROP_PKEY_P521, 0 },
    { "ed25519", PROP_PKEY_ED25519, 0 },
};

/* FILE or standard output. The copy is made first: a KEK in use that nobody keeps is lost. */
static int write_kek(struct prop_cli *cli, const struct gen_opts *o, const struct prop_secret *kek,
                     const struct prop_secret *bytes, char **ret_kept, struct prop_err *err)
{
    const char *path = prop_cli_arg(cli, 0);
    prop_auto_file_out struct prop_file_out f = PROP_FILE_OUT_INIT;
    int rc = 0;
    if (strcmp(path, "-") != 0)
        rc = prop_file_out_open(&f, path, KEK_MODE, o->force, err);
    if (rc == 0 && !o->no_keep)
        rc = prop_kek_store_new(kek, ret_kept, err);
    if (rc < 0)
        return rc;
    if (strcmp(path, "-") == 0)
        return prop_cli_write(cli, prop_secret_data(bytes), prop_secret_len(bytes), err);
    rc = prop_file_out_write(&f, prop_secret_data(bytes), prop_secret_len(bytes), err);
    return rc == 0 ? prop_file_out_commit(&f, err) : rc;
}

static int gen_kek(struct prop_cli *cli, const struct gen_opts *o, struct prop_err *err)
{
    char fingerprint[17];
    const char *path = prop_cli_arg(cli, 0);
    prop_auto_secret struct prop_secret *kek = NULL;
    prop_auto_secret struct prop_secret *bytes = NULL;
    prop_auto_free char *kept = NULL;
    if (strcmp(path, "-") == 0 && prop_cli_json(cli))
        return prop_err_set_id(err, PROP_E_USAGE, "json-and-stdout",
                               "the key goes to standard output, --json cannot go there too");
    int rc = prop_random_secret(KEK_LEN, &kek, err);
    if (rc == 0)
        rc = propkey_kek_bytes(kek, o->format, &bytes, err);
    if (rc == 0)
        rc = prop_kek_fingerprint(kek, fingerprint, err);
    if (rc == 0)
        rc = write_kek(cli, o, kek, bytes, &kept, err);
    if (rc < 0)
        return rc;
    if (strcmp(path, "-") == 0) {
        prop_cli_note(cli, "fingerprint: %s", fingerprint);
        return 0;
    }
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:o,s:s,s:o*}", "type", "kek", "file", propkey_name(path), "fingerprint",
                  fingerprint, "kept", kept ? propkey_name(kept) : NULL);
    return doc ? prop_cli_result(cli, doc, NULL, err) : prop_err_nomem(err);
}

static int gen_pair(struct prop_cli *cli, const struct gen_opts *o, const struct key_type *type,
                    struct prop_err *err)
{
    enum propkey_form form = PROPKEY_PEM;
    uint64_t bits = type->bits ? type->bits : o->bits;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_json json_t *doc = NULL;
    if (o->format && strcmp(o->format, "jwk") == 0)
        form = PROPKEY_JWK;
    else if (o->format && strcmp(o->format, "pem") != 0)
        return propkey_bad_choice("format", o->format, "pem, jwk", err);
    if (type->bits && prop_cli_given(cli, "bits") && bits != o->bits)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--bits does not go with --type %s", type->name);
    if (type->type == PROP_PKEY_RSA && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--bits takes %d to %d", RSA_BITS_MIN, RSA_BITS_MAX);
    int rc = prop_pkey_generate(type->type, (unsigned)bits, &key, err);
    if (rc == 0)
        rc = propkey_write_pair(key, prop_cli_arg(cli, 0), form, o->force, &doc, err);
    return rc < 0 ? rc : prop_cli_result(cli, doc, NULL, err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct gen_opts *o = opts;
    if (prop_cli_given(cli, "bits") && !prop_starts_with(o->type, "rsa"))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--bits is of RSA keys, and the type is '%s'", o->type);
    if (strcmp(o->type, "kek") == 0)
        return gen_kek(cli, o, err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, o->type) == 0)
            return gen_pair(cli, o, &types[i], err);
    return propkey_bad_choice("type", o->type,
                              "kek, rsa, rsa2048, rsa3072, rsa4096, ec, p256, p384, "
                              "p521, ed25519",
                              err);
}

const struct prop_verb propkey_verb_gen = {
    "gen", "FILE", "make a key: a KEK, or a pair in FILE and FILE.pub",
    "A KEK (key encryption key) is 32 random bytes. What is printed is its fingerprint, which\n"
    "names it without telling it; a copy is kept in the data folder, where 'rotate' and 'backup'\n"
    "find it. A pair is named by its JWK thumbprint (RFC 7638). Private files\n"
    "get mode 0600, and nothing is replaced without --force. 'propkey convert' turns one form\n"
    "of a key into another.\n"
    "\n"
    "  propkey gen app.kek\n"
    "  propkey gen --type rsa reader.pem        # reader.pem.pub is for --recipient jwe:",
    options, sizeof(struct gen_opts), 1, 1, run
};
