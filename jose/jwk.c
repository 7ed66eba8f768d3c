/* JWK to key and back. Refuses what is not the one canonical form of a number: EC and Ed25519 at
 * fixed width, RSA modulus and exponent without leading zero bytes (RFC 7518 section 6). */
#include "jose/jwk.h"

#include "util/encode.h"

#include <stddef.h>
#include <string.h>

#define RSA_MIN_BYTES 256  /* RFC 7518 section 4.2: 2048 bits or more */
#define RSA_MAX_BYTES 1024 /* 8192 bits: what a reader can be made to compute with */

struct curve {
    const char *kty, *crv;
    enum prop_pkey_type type;
    size_t width;
};
static const struct curve curves[] = {
    { "EC", "P-256", PROP_PKEY_P256, 32 },
    { "EC", "P-384", PROP_PKEY_P384, 48 },
    { "EC", "P-521", PROP_PKEY_P521, 66 },
    { "OKP", "Ed25519", PROP_PKEY_ED25519, 32 },
};

struct members {
    const char *kty, *crv, *x, *y, *n, *e, *d, *p, *q, *dp, *dq, *qi;
    json_t *oth;
};
#define MEMBER(name, flags) { #name, PROP_JSON_STRING, offsetof(struct members, name), flags }
static const struct prop_json_field member_fields[] = {
    MEMBER(kty, PROP_JSON_REQUIRED),
    MEMBER(crv, 0), MEMBER(x, 0), MEMBER(y, 0), MEMBER(n, 0), MEMBER(e, 0), MEMBER(d, 0),
    MEMBER(p, 0), MEMBER(q, 0), MEMBER(dp, 0), MEMBER(dq, 0), MEMBER(qi, 0),
    { "oth", PROP_JSON_ANY, offsetof(struct members, oth), 0 },
};

static int bad(const char *what, const char *member, const char *why, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-jwk", "%s: member '%s' of the JWK %s", what,
                           member, why);
}

/* One public number; `width` 0: any width, without leading zeros. */
static int public_number(const char *text, const char *what, const char *member, size_t width,
                         struct prop_buf *out, struct prop_err *err)
{
    if (!text)
        return bad(what, member, "is missing", err);
    int rc = prop_b64_decode(PROP_B64_URL, text, strlen(text), member, out, err);
    if (rc) {
        (void)prop_err_wrap(err, "%s", what);
        return rc;
    }
    if (out->len == 0)
        return bad(what, member, "is empty", err);
    if (width && out->len != width)
        return bad(what, member, "has the wrong length", err);
    if (!width && out->data[0] == 0)
        return bad(what, member, "has leading zero bytes", err);
    return 0;
}

static int private_number(const char *text, const char *what, const char *member, size_t width,
                          struct prop_secret **ret, struct prop_err *err)
{
    if (!text)
        return bad(what, member, "is missing", err);
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_b64_decode_secret(PROP_B64_URL, text, strlen(text), member, &s, err);
    if (rc) {
        (void)prop_err_wrap(err, "%s", what);
        return rc;
    }
    if (prop_secret_len(s) == 0 || prop_secret_len(s) > RSA_MAX_BYTES)
        return bad(what, member, "is out of range", err);
    if (width && prop_secret_len(s) != width)
        return bad(what, member, "has the wrong length", err);
    *ret = PROP_TAKE(s);
    return 0;
}

static int read_rsa_private(const struct members *m, const char *what,
                            struct prop_pkey_numbers *num, struct prop_err *err)
{
    const struct { const char *text, *name; struct prop_secret **ret; } primes[] = {
        { m->p, "p", &num->p }, { m->q, "q", &num->q }, { m->dp, "dp", &num->dp },
        { m->dq, "dq", &num->dq }, { m->qi, "qi", &num->qi },
    };
    int rc = private_number(m->d, what, "d", 0, &num->d, err);
    if (rc)
        return rc;
    if (m->oth)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwk-type",
                               "%s: RSA keys of more than two primes are not supported", what);
    if (!m->p && !m->q && !m->dp && !m->dq && !m->qi)
        return 0;
    for (size_t i = 0; i < PROP_ARRAY_LEN(primes); i++) { /* RFC 7518 6.3.2: all or none */
        rc = private_number(primes[i].text, what, primes[i].name, 0, primes[i].ret, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int read_rsa(const struct members *m, const char *what, struct prop_pkey_numbers *num,
                    struct prop_err *err)
{
    int rc = public_number(m->n, what, "n", 0, &num->n, err);
    if (rc == 0)
        rc = public_number(m->e, what, "e", 0, &num->e, err);
    if (rc)
        return rc;
    if (num->n.len < RSA_MIN_BYTES || num->n.len > RSA_MAX_BYTES ||
        (num->n.len == RSA_MIN_BYTES && num->n.data[0] < 0x80))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "weak-key",
                               "%s: RSA keys have 2048 to 8192 bits here", what);
    if (num->e.len > 8)
        return bad(what, "e", "is out of range", err);
    return m->d ? read_rsa_private(m, what, num, err) : 0;
}

static int read_curve(const struct members *m, const struct curve *c, const char *what,
                      struct prop_pkey_numbers *num, struct prop_err *err)
{
    int rc = public_number(m->x, what, "x", c->width, &num->x, err);
    if (rc == 0 && c->type != PROP_PKEY_ED25519)
        rc = public_number(m->y, what, "y", c->width, &num->y, err);
    if (rc == 0 && m->d)
        rc = private_number(m->d, what, "d", c->width, &num->d, err);
    return rc;
}

static const struct curve *find_curve(const struct members *m)
{
    for (size_t i = 0; m->crv && i < PROP_ARRAY_LEN(curves); i++)
        if (strcmp(curves[i].kty, m->kty) == 0 && strcmp(curves[i].crv, m->crv) == 0)
            return &curves[i];
    return NULL;
}

int prop_jwk_import(const json_t *jwk, const char *what, struct prop_pkey **ret,
                    struct prop_err *err)
{
    struct members m = { 0 };
    struct prop_pkey_numbers num;
    enum prop_pkey_type type = PROP_PKEY_RSA;

    int rc = prop_json_read(jwk, what, member_fields, PROP_ARRAY_LEN(member_fields), &m, err);
    if (rc)
        return rc;
    bool rsa = strcmp(m.kty, "RSA") == 0;
    const struct curve *c = rsa ? NULL : find_curve(&m);
    if (!rsa && !c)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwk-type",
                               "%s: key type '%.20s'%s%.20s is not supported", what, m.kty,
                               m.crv ? " with curve " : "", m.crv ? m.crv : "");
    prop_pkey_numbers_init(&num);
    if (c) {
        type = c->type;
        rc = read_curve(&m, c, what, &num, err);
    } else {
        rc = read_rsa(&m, what, &num, err);
    }
    if (rc == 0) {
        rc = prop_pkey_from_numbers(type, &num, ret, err);
        if (rc)
            (void)prop_err_wrap(err, "%s", what);
    }
    prop_pkey_numbers_release(&num);
    return rc;
}

static int set_text(json_t *o, const char *name, const char *value, struct prop_err *err)
{
    return json_object_set_new(o, name, json_string(value)) ? prop_err_nomem(err) : 0;
}

static int set_bytes(json_t *o, const char *name, const void *data, size_t len,
                     struct prop_err *err)
{
    char *text = prop_b64_encode(PROP_B64_URL, data, len);
    if (!text)
        return prop_err_nomem(err);
    int rc = set_text(o, name, text, err);
    prop_wipe(text, strlen(text)); /* it may be a private number */
    prop_free(text);
    return rc;
}

/* Public numbers that are there, then private ones that are there. */
static int set_numbers(json_t *o, const struct prop_pkey_numbers *num, struct prop_err *err)
{
    const struct { const char *name; const struct prop_buf *value; } pub[] = {
        { "x", &num->x }, { "y", &num->y }, { "n", &num->n }, { "e", &num->e },
    };
    const struct { const char *name; const struct prop_secret *value; } priv[] = {
        { "d", num->d }, { "p", num->p }, { "q", num->q },
        { "dp", num->dp }, { "dq", num->dq }, { "qi", num->qi },
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(pub); i++)
        if (pub[i].value->len)
            rc = set_bytes(o, pub[i].name, pub[i].value->data, pub[i].value->len, err);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(priv); i++)
        if (priv[i].value)
            rc = set_bytes(o, priv[i].name, prop_secret_data(priv[i].value),
                           prop_secret_len(priv[i].value), err);
    return rc;
}

static int set_type(json_t *o, enum prop_pkey_type type, struct prop_err *err)
{
    if (type == PROP_PKEY_RSA)
        return set_text(o, "kty", "RSA", err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(curves); i++) {
        if (curves[i].type != type)
            continue;
        int rc = set_text(o, "kty", curves[i].kty, err);
        return rc ? rc : set_text(o, "crv", curves[i].crv, err);
    }
    return prop_err_set(err, PROP_E_BUG, "a key type without a JWK form");
}

int prop_jwk_export(const struct prop_pkey *key, bool with_private, const char *alg, json_t **ret,
                    struct prop_err *err)
{
    prop_auto_json json_t *o = json_object();
    if (!o)
        return prop_err_nomem(err);
    if (with_private && !prop_pkey_is_private(key))
        return prop_err_set(err, PROP_E_BUG, "the private numbers of a public key were asked for");

    struct prop_pkey_numbers num;
    prop_pkey_numbers_init(&num);
    int rc = prop_pkey_get_numbers(key, with_private, &num, err);
    if (rc == 0)
        rc = set_type(o, prop_pkey_get_type(key), err);
    if (rc == 0 && alg)
        rc = set_text(o, "alg", alg, err);
    if (rc == 0)
        rc = set_numbers(o, &num, err);
    prop_pkey_numbers_release(&num);
    if (rc)
        return rc;
    *ret = PROP_TAKE(o);
    return 0;
}

int prop_jwk_thumbprint(const struct prop_pkey *key, char out[44], struct prop_err *err)
{
    prop_auto_json json_t *o = NULL; /* without alg: just RFC 7638's required members */
    int rc = prop_jwk_export(key, false, NULL, &o, err);
    if (rc)
        return rc;
    prop_auto_free char *text = prop_json_sorted(o);
    if (!text)
        return prop_err_nomem(err);
    struct prop_digest d;
    rc = prop_digest_of(PROP_SHA256, text, strlen(text), &d, err);
    if (rc)
        return rc;
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_URL, d.bytes, d.len);
    if (!b64)
        return prop_err_nomem(err);
    memcpy(out, b64, 44);
    return 0;
}
