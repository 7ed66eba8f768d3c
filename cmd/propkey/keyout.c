/* Key pairs on disk. */
#include "cmd/propkey/keyout.h"

#include "jose/jwk.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

enum { PRIVATE_MODE = 0600, PUBLIC_MODE = 0644 };

const char *propkey_type_name(enum prop_pkey_type type)
{
    switch (type) {
    case PROP_PKEY_RSA:
        return "rsa";
    case PROP_PKEY_P256:
        return "p256";
    case PROP_PKEY_P384:
        return "p384";
    case PROP_PKEY_P521:
        return "p521";
    case PROP_PKEY_ED25519:
        return "ed25519";
    }
    return "unknown";
}

json_t *propkey_name(const char *path)
{
    char shown[4 * PATH_MAX + 1];
    return json_string(prop_printable(path, strlen(path), shown, sizeof(shown)));
}

/* The JWK's text with a newline, in guarded memory: jansson's memory is wiped by its hooks. */
static int jwk_text(const struct prop_pkey *key, bool private_half, const char *kid,
                    struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_json json_t *jwk = NULL;
    int rc = prop_jwk_export(key, private_half, NULL, &jwk, err);
    if (rc < 0)
        return rc;
    if (json_object_set_new(jwk, "kid", json_string(kid)) < 0)
        return prop_err_nomem(err);
    char *text = prop_json_compact(jwk);
    if (!text)
        return prop_err_nomem(err);
    size_t len = strlen(text);
    text[len] = '\n'; /* over the final 0: the copy brings its own */
    rc = prop_secret_copy(text, len + 1, ret, err);
    prop_wipe(text, len + 1);
    prop_free(text);
    return rc;
}

static int public_pem(const struct prop_pkey *key, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf pem = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    int rc = prop_pkey_public_pem(key, &pem, err);
    return rc < 0 ? rc : prop_secret_copy(pem.data, pem.len, ret, err);
}

int propkey_key_text(const struct prop_pkey *key, enum propkey_form form, bool private_half,
                     const char *kid, struct prop_secret **ret, struct prop_err *err)
{
    char thumbprint[44];
    int rc = 0;
    if (form == PROPKEY_PEM)
        return private_half ? prop_pkey_private_pem(key, ret, err) : public_pem(key, ret, err);
    if (!kid)
        rc = prop_jwk_thumbprint(key, thumbprint, err);
    return rc < 0 ? rc : jwk_text(key, private_half, kid ? kid : thumbprint, ret, err);
}

int propkey_bad_choice(const char *option, const char *got, const char *choices,
                       struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_USAGE, "bad-option-value", "--%s '%s' is not known", option, got);
    return prop_err_hint(err, "one of: %s", choices);
}

int propkey_kek_bytes(const struct prop_secret *kek, const char *format, struct prop_secret **ret,
                      struct prop_err *err)
{
    if (!format || strcmp(format, "raw") == 0)
        return prop_secret_copy(prop_secret_data(kek), prop_secret_len(kek), ret, err);
    if (strcmp(format, "base64") != 0)
        return propkey_bad_choice("format", format, "raw, base64", err);
    char *text = prop_b64_encode(PROP_B64_STD, prop_secret_data(kek), prop_secret_len(kek));
    if (!text)
        return prop_err_nomem(err);
    int rc = prop_secret_copy(text, strlen(text), ret, err);
    prop_wipe(text, strlen(text));
    prop_free(text);
    return rc;
}

/* Both files are complete before the first gets its name. The public one goes first: alone it is
 * of no use to anybody, and it is taken back when the private one fails. */
static int write_both(const char *path, const struct prop_secret *priv, const char *pub_path,
                      const struct prop_secret *pub, bool force, struct prop_err *err)
{
    prop_auto_file_out struct prop_file_out f = PROP_FILE_OUT_INIT;
    prop_auto_file_out struct prop_file_out g = PROP_FILE_OUT_INIT;
    int rc = prop_file_out_open(&f, path, PRIVATE_MODE, force, err);
    if (rc == 0)
        rc = prop_file_out_open(&g, pub_path, PUBLIC_MODE, force, err);
    if (rc == 0)
        rc = prop_file_out_write(&f, prop_secret_data(priv), prop_secret_len(priv), err);
    if (rc == 0)
        rc = prop_file_out_write(&g, prop_secret_data(pub), prop_secret_len(pub), err);
    if (rc == 0)
        rc = prop_file_out_commit(&g, err);
    if (rc < 0)
        return rc;
    rc = prop_file_out_commit(&f, err);
    if (rc < 0 && !force)
        (void)unlink(pub_path);
    return rc;
}

int propkey_write_pair(const struct prop_pkey *key, const char *path, enum propkey_form form,
                       bool force, json_t **ret_doc, struct prop_err *err)
{
    char thumbprint[44];
    prop_auto_secret struct prop_secret *priv = NULL;
    prop_auto_secret struct prop_secret *pub = NULL;
    if (strcmp(path, "-") == 0)
        return prop_err_set_id(err, PROP_E_USAGE, "pair-to-stdout",
                               "a key pair is two files: name one, the other is FILE.pub");
    prop_auto_free char *pub_path = prop_asprintf("%s.pub", path);
    if (!pub_path)
        return prop_err_nomem(err);
    int rc = prop_jwk_thumbprint(key, thumbprint, err);
    if (rc == 0)
        rc = propkey_key_text(key, form, true, thumbprint, &priv, err);
    if (rc == 0)
        rc = propkey_key_text(key, form, false, thumbprint, &pub, err);
    if (rc == 0)
        rc = write_both(path, priv, pub_path, pub, force, err);
    if (rc < 0)
        return rc;
    json_t *doc = json_pack("{s:s,s:o,s:o,s:s}", "type", propkey_type_name(prop_pkey_get_type(key)),
                            "file", propkey_name(path), "public_file", propkey_name(pub_path),
                            "thumbprint", thumbprint);
    if (!doc)
        return prop_err_nomem(err);
    *ret_doc = doc;
    return 0;
}
