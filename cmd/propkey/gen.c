/* propkey gen: KEKs and key pairs. */
#include "cmd/propkey/keyout.h"
#include "cmd/propkey/verbs.h"

#include "crypto/random.h"
#include "keys/keyfile.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/mem.h"

#include <string.h>

enum { KEK_LEN = 32, KEK_MODE = 0600, RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192 };

struct gen_opts {
    const char *type;
    const char *format;
    uint64_t bits;
    bool force;
};

static const struct prop_opt options[] = {
    { "type", 't', PROP_OPT_STRING, "TYPE", "kek, rsa, ec (p256), p384, p521 or ed25519",
      offsetof(struct gen_opts, type), NULL, "kek", false },
    { "format", 0, PROP_OPT_STRING, "FORMAT",
      "of a KEK: raw (default) or base64; of a pair: pem (default) or jwk",
      offsetof(struct gen_opts, format), NULL, NULL, false },
    { "bits", 0, PROP_OPT_U64, "N", "size of an RSA key", offsetof(struct gen_opts, bits), NULL,
      "3072", false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace files that are there",
      offsetof(struct gen_opts, force), NULL, NULL, false },
    PROP_OPT_END
};

static const struct key_type {
    const char *name;
    enum prop_pkey_type type;
} types[] = {
    { "rsa", PROP_PKEY_RSA },   { "ec", PROP_PKEY_P256 },   { "p256", PROP_PKEY_P256 },
    { "p384", PROP_PKEY_P384 }, { "p521", PROP_PKEY_P521 }, { "ed25519", PROP_PKEY_ED25519 },
};

static int bad_choice(const char *option, const char *got, const char *choices,
                      struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_USAGE, "bad-option-value", "--%s '%s' is not known", option, got);
    return prop_err_hint(err, "one of: %s", choices);
}

/* The form on disk: 32 bytes, or their base64 with nothing behind it (some readers take the file
 * as it is, a newline included). */
static int kek_bytes(const struct prop_secret *kek, const char *format, struct prop_secret **ret,
                     struct prop_err *err)
{
    if (!format || strcmp(format, "raw") == 0)
        return prop_secret_copy(prop_secret_data(kek), prop_secret_len(kek), ret, err);
    if (strcmp(format, "base64") != 0)
        return bad_choice("format", format, "raw, base64", err);
    char *text = prop_b64_encode(PROP_B64_STD, prop_secret_data(kek), prop_secret_len(kek));
    if (!text)
        return prop_err_nomem(err);
    int rc = prop_secret_copy(text, strlen(text), ret, err);
    prop_wipe(text, strlen(text));
    prop_free(text);
    return rc;
}

static int gen_kek(struct prop_cli *cli, const struct gen_opts *o, struct prop_err *err)
{
    char fingerprint[17];
    const char *path = prop_cli_arg(cli, 0);
    prop_auto_secret struct prop_secret *kek = NULL;
    prop_auto_secret struct prop_secret *bytes = NULL;
    int rc = prop_random_secret(KEK_LEN, &kek, err);
    if (rc == 0)
        rc = kek_bytes(kek, o->format, &bytes, err);
    if (rc == 0)
        rc = prop_kek_fingerprint(kek, fingerprint, err);
    if (rc < 0)
        return rc;
    if (strcmp(path, "-") == 0) {
        if (prop_cli_json(cli))
            return prop_err_set_id(err, PROP_E_USAGE, "json-and-stdout",
                                   "the key goes to standard output, --json cannot go there too");
        rc = prop_cli_write(cli, prop_secret_data(bytes), prop_secret_len(bytes), err);
        if (rc == 0)
            prop_cli_note(cli, "fingerprint: %s", fingerprint);
        return rc;
    }
    rc = prop_file_write(path, prop_secret_data(bytes), prop_secret_len(bytes), KEK_MODE, o->force,
                         err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:o,s:s}", "type", "kek", "file", propkey_name(path), "fingerprint",
                  fingerprint);
    return doc ? prop_cli_result(cli, doc, NULL, err) : prop_err_nomem(err);
}

static int gen_pair(struct prop_cli *cli, const struct gen_opts *o, enum prop_pkey_type type,
                    struct prop_err *err)
{
    enum propkey_form form = PROPKEY_PEM;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_json json_t *doc = NULL;
    if (o->format && strcmp(o->format, "jwk") == 0)
        form = PROPKEY_JWK;
    else if (o->format && strcmp(o->format, "pem") != 0)
        return bad_choice("format", o->format, "pem, jwk", err);
    if (type == PROP_PKEY_RSA && (o->bits < RSA_BITS_MIN || o->bits > RSA_BITS_MAX))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--bits takes %d to %d", RSA_BITS_MIN, RSA_BITS_MAX);
    int rc = prop_pkey_generate(type, (unsigned)o->bits, &key, err);
    if (rc == 0)
        rc = propkey_write_pair(key, prop_cli_arg(cli, 0), form, o->force, &doc, err);
    return rc < 0 ? rc : prop_cli_result(cli, doc, NULL, err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct gen_opts *o = opts;
    if (strcmp(o->type, "kek") == 0)
        return gen_kek(cli, o, err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, o->type) == 0)
            return gen_pair(cli, o, types[i].type, err);
    return bad_choice("type", o->type, "kek, rsa, ec, p256, p384, p521, ed25519", err);
}

const struct prop_verb propkey_verb_gen = {
    "gen", "FILE", "make a key: a KEK, or a pair in FILE and FILE.pub",
    "A KEK (key encryption key) is 32 random bytes. What is printed is its fingerprint, which\n"
    "names it without telling it; a pair is named by its JWK thumbprint (RFC 7638). Private files\n"
    "get mode 0600, and nothing is replaced without --force.\n"
    "\n"
    "  propkey gen app.kek\n"
    "  propkey gen --type rsa reader.pem        # reader.pem.pub is for --recipient jwe:",
    options, sizeof(struct gen_opts), 1, 1, run
};
