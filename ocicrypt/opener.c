/* The search for a layer's key: every block of every scheme is tried with everything that fits, and
 * the likeliest cause is reported when none opens. */
#include "ocicrypt/opener_internal.h"

#include "ocicrypt/annot.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>

static bool try_scheme(struct prop_attempt *a, const char *scheme, const char *value)
{
    prop_opener_fn open_block = prop_opener_find(scheme);
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf block = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    const char *cursor = value;
    const char *text = NULL;
    size_t len = 0, n = 0;
    if (!open_block)
        return false;
    if (prop_enc_count_blocks(value, &n, &err) != 0) {
        prop_attempt_failed(a, PROP_RANK_UNSUPPORTED, &err);
        return false;
    }
    while (prop_enc_next_block(&cursor, &text, &len)) {
        int rc = prop_enc_decode_block(scheme, text, len, &block, &err);
        if (rc != 0)
            prop_attempt_failed(a, prop_attempt_rank(rc), &err);
        else if (open_block(a, scheme, &block))
            return true;
    }
    return false;
}

/* One round over all annotations. */
static bool search(struct prop_attempt *a, const struct prop_descriptor *layer, bool ask)
{
    const char *key;
    json_t *value;
    a->ask = ask;
    json_object_foreach(json_object_get(layer->json, "annotations"), key, value)
        if (prop_starts_with(key, PROP_ENC_KEYS) && json_is_string(value) &&
            try_scheme(a, key + strlen(PROP_ENC_KEYS), json_string_value(value)))
            return true;
    return false;
}

/* "jwe, pkcs7": the schemes of a layer, for the message; ret_one is set when there is one only. */
static void list_schemes(const struct prop_descriptor *layer, struct prop_buf *out,
                         const char **ret_one)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(layer->json, "annotations"), key, value) {
        if (!prop_starts_with(key, PROP_ENC_KEYS))
            continue;
        *ret_one = out->len ? "" : key + strlen(PROP_ENC_KEYS);
        (void)prop_buf_printf(out, NULL, "%s%s", out->len ? ", " : "", key + strlen(PROP_ENC_KEYS));
    }
}

static int no_scheme(const struct prop_descriptor *layer, struct prop_err *err)
{
    prop_auto_buf struct prop_buf names = PROP_BUF_INIT(400);
    const char *one = "";
    list_schemes(layer, &names, &one);
    if (names.len == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "the layer is marked encrypted but holds no wrapped key");
    if (strcmp(one, PROP_SCHEME_PGP) == 0 || strcmp(one, PROP_SCHEME_PKCS11) == 0) {
        bool pgp = strcmp(one, PROP_SCHEME_PGP) == 0;
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED,
                              pgp ? "pgp-unsupported" : "pkcs11-unsupported",
                              "the layer is encrypted for %s recipients only, which are recognised "
                              "and not opened", pgp ? "OpenPGP" : "PKCS#11");
        return prop_err_hint(err, "'skopeo copy --decryption-key' opens it; then encrypt it for a "
                             "jwe, pkcs7 or attestation-agent recipient");
    }
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-usable-scheme",
                          "the layer is encrypted for %s: none of the keys given opens that kind",
                          prop_buf_str(&names));
    return prop_err_hint(err, "jwe needs a private key file, pkcs7 the certificate and its key, "
                         "provider.attestation-agent the 32-byte key of its kid, another provider "
                         "--key provider:NAME; 'propenc inspect' tells more");
}

int prop_openers_unwrap(struct prop_openers *o, const struct prop_descriptor *layer,
                        struct prop_secret **ret_privopts, char **ret_pubopts,
                        struct prop_err *err)
{
    struct prop_attempt a = { .o = o, .rank = PROP_RANK_NONE };
    prop_auto_free char *pubopts = NULL;
    int rc = prop_enc_pubopts(layer, &pubopts, err);
    if (rc != 0)
        return rc;
    if (search(&a, layer, false) ||
        ((o->source || o->n_providers > 0) && search(&a, layer, true))) {
        *ret_privopts = a.found;
        *ret_pubopts = PROP_TAKE(pubopts);
        return 0;
    }
    if (a.rank == PROP_RANK_NONE)
        return no_scheme(layer, err);
    if (err)
        *err = a.err;
    return a.err.code;
}
