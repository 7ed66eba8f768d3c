/* Compact JWS. The signature is checked over the received text before the payload is looked at. */
#include "jose/jws.h"

#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stddef.h>
#include <string.h>

struct alg {
    const char *name;
    enum prop_pkey_type type;
};
/* Everything that is accepted: no `none`, no HMAC, and one algorithm per kind of key. */
static const struct alg algs[] = {
    { "EdDSA", PROP_PKEY_ED25519 },
    { "ES256", PROP_PKEY_P256 },
    { "ES384", PROP_PKEY_P384 },
    { "ES512", PROP_PKEY_P521 },
};

static const struct alg *alg_of_key(const struct prop_pkey *key)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(algs); i++)
        if (algs[i].type == prop_pkey_get_type(key))
            return &algs[i];
    return NULL;
}

struct header {
    const char *alg;
    json_t *crit;
};
static const struct prop_json_field header_fields[] = {
    { "alg", PROP_JSON_STRING, offsetof(struct header, alg), PROP_JSON_REQUIRED },
    { "crit", PROP_JSON_ANY, offsetof(struct header, crit), 0 },
};

/* The header's algorithm must be the key's own: a token cannot choose how it is checked. */
static int check_header(const json_t *header, const struct prop_pkey *key, struct prop_err *err)
{
    struct header h = { 0 };
    int rc = prop_json_read(header, "JWS header", header_fields, PROP_ARRAY_LEN(header_fields), &h,
                            err);
    if (rc)
        return rc;
    if (h.crit)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jws-crit",
                               "the signature's header has critical extensions");
    const struct alg *a = alg_of_key(key);
    if (!a || strcmp(a->name, h.alg) != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jws-alg",
                               "signature algorithm '%.40s' is not supported for this key%s%s",
                               h.alg, a ? ", which makes " : "", a ? a->name : "");
    return 0;
}

/* The three parts of the text, borrowed. */
struct parts {
    const char *header, *payload, *signature;
    size_t header_len, payload_len, signature_len;
    size_t signed_len; /* of header.payload */
};

static int split(const char *jws, size_t len, struct parts *p, struct prop_err *err)
{
    if (len > PROP_LIMIT_TOKEN_ANSWER)
        return prop_err_set(err, PROP_E_LIMIT, "a JWS of %zu bytes is too long", len);
    const char *dot1 = memchr(jws, '.', len);
    const char *dot2 = dot1 ? memchr(dot1 + 1, '.', len - (size_t)(dot1 + 1 - jws)) : NULL;
    size_t rest = dot2 ? len - (size_t)(dot2 + 1 - jws) : 0;
    if (!dot2 || memchr(dot2 + 1, '.', rest))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-jws",
                               "a compact JWS has three parts with a dot between them");
    p->header = jws;
    p->header_len = (size_t)(dot1 - jws);
    p->payload = dot1 + 1;
    p->payload_len = (size_t)(dot2 - p->payload);
    p->signature = dot2 + 1;
    p->signature_len = rest;
    p->signed_len = (size_t)(dot2 - jws);
    return 0;
}

static int decode_object(const char *text, size_t len, const char *what, json_t **ret,
                         struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_TOKEN_ANSWER);
    prop_auto_json json_t *v = NULL;
    int rc = prop_b64_decode(PROP_B64_URL, text, len, what, &bytes, err);
    if (rc == 0)
        rc = prop_json_parse(prop_buf_str(&bytes), bytes.len, what, &v, err);
    if (rc)
        return rc;
    if (!json_is_object(v))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-jws", "%s is not a JSON object", what);
    *ret = PROP_TAKE(v);
    return 0;
}

int prop_jws_decode(const char *jws, size_t len, json_t **ret_header, json_t **ret_claims,
                    struct prop_err *err)
{
    struct parts p;
    prop_auto_json json_t *header = NULL, *claims = NULL;
    int rc = split(jws, len, &p, err);
    if (rc == 0)
        rc = decode_object(p.header, p.header_len, "JWS header", &header, err);
    if (rc == 0)
        rc = decode_object(p.payload, p.payload_len, "JWS payload", &claims, err);
    if (rc)
        return rc;
    *ret_header = PROP_TAKE(header);
    *ret_claims = PROP_TAKE(claims);
    return 0;
}

int prop_jws_verify(const char *jws, size_t len, const struct prop_pkey *key, json_t **ret_claims,
                    struct prop_err *err)
{
    struct parts p;
    prop_auto_json json_t *header = NULL, *claims = NULL;
    prop_auto_buf struct prop_buf sig = PROP_BUF_INIT(PROP_LIMIT_TOKEN_ANSWER);
    prop_auto_buf struct prop_buf payload = PROP_BUF_INIT(PROP_LIMIT_TOKEN_ANSWER);

    int rc = split(jws, len, &p, err);
    if (rc == 0)
        rc = decode_object(p.header, p.header_len, "JWS header", &header, err);
    if (rc == 0)
        rc = check_header(header, key, err);
    if (rc == 0)
        rc = prop_b64_decode(PROP_B64_URL, p.signature, p.signature_len, "JWS signature", &sig,
                             err);
    if (rc == 0)
        rc = prop_b64_decode(PROP_B64_URL, p.payload, p.payload_len, "JWS payload", &payload, err);
    if (rc == 0)
        rc = prop_verify(key, jws, p.signed_len, sig.data, sig.len, err);
    if (rc == 0 && ret_claims)
        rc = decode_object(p.payload, p.payload_len, "JWS payload", &claims, err);
    if (rc)
        return rc;
    if (ret_claims)
        *ret_claims = PROP_TAKE(claims);
    return 0;
}

static int default_header(const struct prop_pkey *key, json_t **ret, struct prop_err *err)
{
    const struct alg *a = alg_of_key(key);
    if (!a)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jws-alg",
                               "RSA keys do not sign tokens here");
    *ret = json_pack("{s:s, s:s}", "alg", a->name, "typ", "JWT");
    return *ret ? 0 : prop_err_nomem(err);
}

static int append_json(struct prop_buf *text, const json_t *v, struct prop_err *err)
{
    prop_auto_free char *json = prop_json_compact(v);
    if (!json)
        return prop_err_nomem(err);
    return prop_b64_append(text, PROP_B64_URL, json, strlen(json), err);
}

int prop_jws_sign(const struct prop_pkey *key, const json_t *header, const json_t *claims,
                  struct prop_buf *out, struct prop_err *err)
{
    prop_auto_json json_t *made = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_TOKEN_ANSWER);
    prop_auto_buf struct prop_buf sig = PROP_BUF_INIT(256);

    int rc = header ? check_header(header, key, err) : default_header(key, &made, err);
    if (rc == 0)
        rc = append_json(&text, header ? header : made, err);
    if (rc == 0)
        rc = prop_buf_puts(&text, ".", err);
    if (rc == 0)
        rc = append_json(&text, claims, err);
    if (rc == 0)
        rc = prop_sign(key, text.data, text.len, &sig, err);
    if (rc == 0)
        rc = prop_buf_puts(&text, ".", err);
    if (rc == 0)
        rc = prop_b64_append(&text, PROP_B64_URL, sig.data, sig.len, err);
    return rc ? rc : prop_buf_add(out, text.data, text.len, err);
}
