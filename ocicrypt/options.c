/* Public and private options of a layer: exact writing, tolerant reading. */
#include "ocicrypt/options.h"

#include "util/encode.h"
#include "util/json.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define OPTIONS_TEXT (64u << 10) /* more than any writer makes */

struct options_text {
    const char *cipher, *hmac, *symkey, *digest;
    json_t *more; /* cipheroptions */
};

static const struct prop_json_field public_fields[] = {
    { "cipher", PROP_JSON_STRING, offsetof(struct options_text, cipher), PROP_JSON_NULLABLE },
    { "hmac", PROP_JSON_STRING, offsetof(struct options_text, hmac), PROP_JSON_NULLABLE },
    { "cipheroptions", PROP_JSON_OBJECT, offsetof(struct options_text, more), PROP_JSON_NULLABLE },
};
static const struct prop_json_field private_fields[] = {
    { "symkey", PROP_JSON_STRING, offsetof(struct options_text, symkey), PROP_JSON_REQUIRED },
    { "digest", PROP_JSON_STRING, offsetof(struct options_text, digest), PROP_JSON_NULLABLE },
    { "cipheroptions", PROP_JSON_OBJECT, offsetof(struct options_text, more), PROP_JSON_NULLABLE },
};

void prop_layer_options_release(struct prop_layer_options *o)
{
    prop_secret_free(o->key);
    o->key = NULL;
    prop_wipe(o->nonce, sizeof(o->nonce));
}

static int bad(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-options", "layer options: %s", what);
}

int prop_layer_pubopts_write(const uint8_t hmac[PROP_LAYER_HMAC], char **ret,
                             struct prop_err *err)
{
    prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, hmac, PROP_LAYER_HMAC);
    char *all = text ? prop_asprintf("{\"cipher\":\"" PROP_LAYER_CIPHER "\",\"hmac\":\"%s\","
                                     "\"cipheroptions\":{}}", text) : NULL;
    if (!all)
        return prop_err_nomem(err);
    *ret = all;
    return 0;
}

static void append(struct prop_secret *s, size_t *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(prop_secret_bytes(s) + *at, text, len);
    *at += len;
}

int prop_layer_privopts_write(const struct prop_secret *key,
                              const uint8_t nonce[PROP_LAYER_NONCE],
                              const struct prop_digest *plain, struct prop_secret **ret,
                              struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    size_t at = 0;
    struct prop_secret *s = NULL;
    int rc = 0;
    char *key64 = prop_b64_encode(PROP_B64_STD, prop_secret_data(key), prop_secret_len(key));
    char *nonce64 = prop_b64_encode(PROP_B64_STD, nonce, PROP_LAYER_NONCE);
    if (!key64 || !nonce64) {
        rc = prop_err_nomem(err);
        goto out;
    }
    rc = prop_secret_new(512, &s, err);
    if (rc != 0)
        goto out;
    append(s, &at, "{\"symkey\":\"");
    append(s, &at, key64);
    append(s, &at, "\",\"digest\":\"");
    append(s, &at, prop_digest_format(plain, digest));
    append(s, &at, "\",\"cipheroptions\":{\"nonce\":\"");
    append(s, &at, nonce64);
    append(s, &at, "\"}}");
    prop_secret_truncate(s, at);
    *ret = s;
out:
    if (key64)
        prop_wipe(key64, strlen(key64));
    if (nonce64)
        prop_wipe(nonce64, strlen(nonce64));
    prop_free(key64);
    prop_free(nonce64);
    return rc;
}

/* A base64 member of exactly `len` bytes. */
static int read_bytes(const char *text, size_t len, const char *what, uint8_t *out,
                      struct prop_err *err)
{
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_b64_decode_secret(PROP_B64_STD, text, strlen(text), what, &s, err);
    if (rc != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-options",
                               "layer options: '%s' is not base64", what);
    if (prop_secret_len(s) != len)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-options",
                               "layer options: '%s' has %zu bytes, need %zu", what,
                               prop_secret_len(s), len);
    memcpy(out, prop_secret_data(s), len);
    return 0;
}

/* The nonce of one object, if it has one. */
static int read_nonce(const struct options_text *t, uint8_t nonce[PROP_LAYER_NONCE], bool *ret_has,
                      struct prop_err *err)
{
    const json_t *v = t->more ? json_object_get(t->more, "nonce") : NULL;
    *ret_has = false;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return bad(err, "'nonce' is not a string");
    *ret_has = true;
    return read_bytes(json_string_value(v), PROP_LAYER_NONCE, "nonce", nonce, err);
}

static int read_text(const char *text, size_t len, const char *what,
                     const struct prop_json_field *fields, size_t n, struct options_text *t,
                     json_t **ret_json, struct prop_err *err)
{
    prop_auto_json json_t *json = NULL;
    /* The parser's words may quote the text: never the private one, which holds the layer's key. */
    bool secret = fields == private_fields;
    if (len > OPTIONS_TEXT)
        return bad(err, "too long");
    int rc = prop_json_parse(text, len, what, &json, secret ? NULL : err);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0 && secret)
        return bad(err, "the private ones are malformed JSON");
    if (rc == 0)
        rc = prop_json_read(json, what, fields, n, t, err);
    if (rc != 0) {
        if (rc == PROP_E_INPUT && err)
            err->id = "bad-options";
        return rc;
    }
    *ret_json = PROP_TAKE(json);
    return 0;
}

static int read_public(const struct options_text *t, struct prop_layer_options *o,
                       struct prop_err *err)
{
    char shown[64];
    if (!t->cipher || t->cipher[0] == 0)
        return bad(err, "no cipher type provided");
    if (strcmp(t->cipher, PROP_LAYER_CIPHER) != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "unsupported-cipher",
                               "unsupported cipher type '%s'",
                               prop_printable(t->cipher, strlen(t->cipher), shown, sizeof(shown)));
    if (!t->hmac || t->hmac[0] == 0)
        return bad(err, "no hmac");
    return read_bytes(t->hmac, PROP_LAYER_HMAC, "hmac", o->hmac, err);
}

static int read_private(const struct options_text *t, struct prop_layer_options *o,
                        struct prop_err *err)
{
    prop_auto_secret struct prop_secret *key = NULL;
    int rc = prop_b64_decode_secret(PROP_B64_STD, t->symkey, strlen(t->symkey), "symkey", &key,
                                    NULL);
    if (rc != 0)
        return bad(err, "'symkey' is not base64");
    if (prop_secret_len(key) != PROP_LAYER_KEY)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-options",
                               "layer options: invalid key length of %zu bytes, need %d",
                               prop_secret_len(key), PROP_LAYER_KEY);
    if (t->digest && t->digest[0] && prop_digest_parse(t->digest, &o->stated, NULL) != 0)
        return bad(err, "'digest' is malformed");
    o->key = PROP_TAKE(key);
    return 0;
}

int prop_layer_options_read(const char *pubopts, const struct prop_secret *privopts,
                            struct prop_layer_options *ret, struct prop_err *err)
{
    prop_auto_json json_t *pub_json = NULL;
    prop_auto_json json_t *priv_json = NULL;
    prop_auto_layer_options struct prop_layer_options o = { .key = NULL };
    struct options_text pub = { .cipher = NULL }, priv = { .cipher = NULL };
    uint8_t nonce[2][PROP_LAYER_NONCE] = { { 0 } };
    bool has[2] = { false, false };
    int rc;
    if (!pubopts)
        return bad(err, "no public options: no cipher type provided");
    if ((rc = read_text(pubopts, strlen(pubopts), "public options", public_fields,
                        PROP_ARRAY_LEN(public_fields), &pub, &pub_json, err)) != 0 ||
        (rc = read_public(&pub, &o, err)) != 0 ||
        (rc = read_text((const char *)prop_secret_data(privopts), prop_secret_len(privopts),
                        "private options", private_fields, PROP_ARRAY_LEN(private_fields), &priv,
                        &priv_json, err)) != 0 ||
        (rc = read_private(&priv, &o, err)) != 0 ||
        (rc = read_nonce(&pub, nonce[0], &has[0], err)) != 0 ||
        (rc = read_nonce(&priv, nonce[1], &has[1], err)) != 0)
        return rc;
    if (!has[0] && !has[1])
        return bad(err, "no nonce");
    if (has[0] && has[1] && !prop_bytes_equal(nonce[0], nonce[1], PROP_LAYER_NONCE))
        return prop_err_set_id(err, PROP_E_VERIFY, "nonce-mismatch",
                               "layer options: the public nonce is not the wrapped one");
    memcpy(o.nonce, nonce[has[0] ? 0 : 1], PROP_LAYER_NONCE);
    *ret = o;
    o.key = NULL;
    return 0;
}

int prop_layer_privopts_check(const struct prop_secret *privopts, struct prop_err *err)
{
    prop_auto_json json_t *json = NULL;
    prop_auto_layer_options struct prop_layer_options o = { .key = NULL };
    struct options_text t = { .cipher = NULL };
    int rc = read_text((const char *)prop_secret_data(privopts), prop_secret_len(privopts),
                       "private options", private_fields, PROP_ARRAY_LEN(private_fields), &t,
                       &json, err);
    return rc != 0 ? rc : read_private(&t, &o, err);
}
