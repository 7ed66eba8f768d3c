/* propkey convert: the same key in another form. */
#include "cmd/propkey/keyout.h"
#include "cmd/propkey/verbs.h"

#include "jose/jwk.h"
#include "keys/keyfile.h"
#include "util/file.h"
#include "util/mem.h"

#include <string.h>

enum { PRIVATE_MODE = 0600, PUBLIC_MODE = 0644 };

struct convert_opts {
    const char *out;
    const char *format;
    bool public_half;
    bool force;
};

static const struct prop_opt options[] = {
    { "output", 'o', PROP_OPT_STRING, "FILE", "write it here (0600 unless it is public)",
      offsetof(struct convert_opts, out), NULL, "-", false },
    { "format", 0, PROP_OPT_STRING, "FORMAT",
      "pem or jwk; raw or base64 of a KEK (default: the other one)",
      offsetof(struct convert_opts, format), NULL, NULL, false },
    { "public", 0, PROP_OPT_FLAG, NULL, "only the public half",
      offsetof(struct convert_opts, public_half), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace FILE if it is there",
      offsetof(struct convert_opts, force), NULL, NULL, false },
    PROP_OPT_END
};

static int form_of(const struct convert_opts *o, const struct prop_keyfile_any *f,
                   enum propkey_form *ret, struct prop_err *err)
{
    *ret = f->is_text ? PROPKEY_PEM : PROPKEY_JWK;
    if (!o->format && o->public_half)
        *ret = PROPKEY_PEM;
    if (!o->format)
        return 0;
    if (strcmp(o->format, "jwk") != 0 && strcmp(o->format, "pem") != 0)
        return propkey_bad_choice("format", o->format, "pem, jwk (for a pair)", err);
    *ret = strcmp(o->format, "jwk") == 0 ? PROPKEY_JWK : PROPKEY_PEM;
    return 0;
}

static int make_text(const struct convert_opts *o, const struct prop_keyfile_any *f,
                     bool *ret_private, struct prop_secret **ret, struct prop_err *err)
{
    enum propkey_form form = PROPKEY_PEM;
    *ret_private = true;
    if (f->kek && o->public_half)
        return prop_err_set_id(err, PROP_E_USAGE, "no-public-half", "a KEK has no public half");
    if (f->kek)
        return propkey_kek_bytes(f->kek, o->format ? o->format : f->is_text ? "raw" : "base64",
                                 ret, err);
    *ret_private = prop_pkey_is_private(f->key) && !o->public_half;
    int rc = form_of(o, f, &form, err);
    return rc < 0 ? rc : propkey_key_text(f->key, form, *ret_private, f->kid, ret, err);
}

static json_t *describe(const struct convert_opts *o, const struct prop_keyfile_any *f,
                        bool is_private)
{
    char name[44];
    int rc = f->kek ? prop_kek_fingerprint(f->kek, name, NULL)
                    : prop_jwk_thumbprint(f->key, name, NULL);
    return rc < 0 ? NULL
                  : json_pack("{s:s,s:b,s:o,s:s}", "type",
                              f->kek ? "kek" : propkey_type_name(prop_pkey_get_type(f->key)),
                              "private", is_private, "file", propkey_name(o->out),
                              f->kek ? "fingerprint" : "thumbprint", name);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    const struct convert_opts *o = opts;
    prop_auto_keyfile_any struct prop_keyfile_any f = { NULL, NULL, NULL, false };
    prop_auto_secret struct prop_secret *text = NULL;
    bool is_private = true;
    if (strcmp(o->out, "-") == 0 && prop_cli_json(cli))
        return prop_err_set_id(err, PROP_E_USAGE, "json-and-stdout",
                               "the key goes to standard output, --json cannot go there too");
    int rc = prop_keyfile_any(prop_cli_arg(cli, 0), &f, err);
    if (rc == 0)
        rc = make_text(o, &f, &is_private, &text, err);
    if (rc < 0)
        return rc;
    if (strcmp(o->out, "-") == 0)
        return prop_cli_write(cli, prop_secret_data(text), prop_secret_len(text), err);
    rc = prop_file_write(o->out, prop_secret_data(text), prop_secret_len(text),
                         is_private ? PRIVATE_MODE : PUBLIC_MODE, o->force, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *doc = describe(o, &f, is_private);
    return doc ? prop_cli_result(cli, doc, NULL, err) : prop_err_nomem(err);
}

const struct prop_verb propkey_verb_convert = {
    "convert", "IN", "write a key in another form: PEM or JWK, a KEK raw or as base64",
    "IN is a private or public key (PEM, DER, certificate, JWK) or a KEK; a passphrase comes by\n"
    "IN:file=PASSFILE or IN:fd=N. Without --format the other form is written: a JWK for a PEM, a\n"
    "PEM for a JWK. A private key comes from a file that only its owner can read.\n"
    "\n"
    "  propkey convert reader.pem -o reader.jwk\n"
    "  propkey convert reader.jwk --public -o reader.pub.pem\n"
    "  propkey convert app.kek --format base64 -o app.kek.b64",
    options, sizeof(struct convert_opts), 1, 1, run
};
