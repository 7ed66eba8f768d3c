/* The numbers of a key, out (for JWKs) and in. */
#include "crypto/ossl.h"
#include "crypto/pkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#define MAX_NUMBER 2048u /* bytes of an RSA modulus of 16384 bits */

void prop_pkey_numbers_init(struct prop_pkey_numbers *n)
{
    memset(n, 0, sizeof *n);
    n->x.max = n->y.max = n->n.max = n->e.max = MAX_NUMBER;
}

void prop_pkey_numbers_release(struct prop_pkey_numbers *n)
{
    prop_buf_release(&n->x);
    prop_buf_release(&n->y);
    prop_buf_release(&n->n);
    prop_buf_release(&n->e);
    struct prop_secret **secrets[] = { &n->d, &n->p, &n->q, &n->dp, &n->dq, &n->qi };
    for (size_t i = 0; i < PROP_ARRAY_LEN(secrets); i++) {
        prop_secret_free(*secrets[i]);
        *secrets[i] = NULL;
    }
}

static const char *const rsa_names[] = {
    OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,   OSSL_PKEY_PARAM_RSA_FACTOR2,
    OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
};

static size_t field_bytes(enum prop_pkey_type type)
{
    return type == PROP_PKEY_P521 ? 66 : type == PROP_PKEY_P384 ? 48 : 32;
}

/* One public number, `width` bytes (0 = as many as it has). */
static int get_public(const struct prop_pkey *k, const char *name, size_t width,
                      struct prop_buf *out, struct prop_err *err)
{
    BIGNUM *bn = NULL;
    if (EVP_PKEY_get_bn_param(prop_pkey_evp(k), name, &bn) != 1)
        return prop_ossl_error(err, "read a key's numbers");
    size_t len = width ? width : (size_t)BN_num_bytes(bn);
    int rc = prop_buf_reserve(out, len, err);
    if (!rc && BN_bn2binpad(bn, out->data + out->len, (int)len) < 0)
        rc = prop_ossl_error(err, "read a key's numbers");
    if (!rc) {
        out->len += len;
        out->data[out->len] = 0;
    }
    BN_free(bn);
    return rc;
}

static int get_secret(const struct prop_pkey *k, const char *name, size_t width,
                      struct prop_secret **ret, struct prop_err *err)
{
    BIGNUM *bn = BN_secure_new();
    if (!bn || EVP_PKEY_get_bn_param(prop_pkey_evp(k), name, &bn) != 1) {
        BN_clear_free(bn);
        return prop_ossl_error(err, "read a key's numbers");
    }
    size_t len = width ? width : (size_t)BN_num_bytes(bn);
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_secret_new(len, &s, err);
    if (!rc && BN_bn2binpad(bn, prop_secret_bytes(s), (int)len) < 0)
        rc = prop_ossl_error(err, "read a key's numbers");
    BN_clear_free(bn);
    if (!rc)
        *ret = PROP_TAKE(s);
    return rc;
}

static int get_ed25519(const struct prop_pkey *k, bool with_private, struct prop_pkey_numbers *ret,
                       struct prop_err *err)
{
    uint8_t pub[32];
    size_t len = sizeof pub;
    if (EVP_PKEY_get_raw_public_key(prop_pkey_evp(k), pub, &len) != 1)
        return prop_ossl_error(err, "read a key's numbers");
    int rc = prop_buf_add(&ret->x, pub, len, err);
    if (rc || !with_private)
        return rc;
    prop_auto_secret struct prop_secret *d = NULL;
    len = 32;
    rc = prop_secret_new(len, &d, err);
    if (!rc && EVP_PKEY_get_raw_private_key(prop_pkey_evp(k), prop_secret_bytes(d), &len) != 1)
        rc = prop_ossl_error(err, "read a key's numbers");
    if (!rc)
        ret->d = PROP_TAKE(d);
    return rc;
}

static bool has_primes(EVP_PKEY *evp)
{
    BIGNUM *p = NULL;
    bool has = EVP_PKEY_get_bn_param(evp, OSSL_PKEY_PARAM_RSA_FACTOR1, &p) == 1;
    BN_clear_free(p);
    ERR_clear_error();
    return has;
}

static int get_rsa(const struct prop_pkey *k, bool with_private, struct prop_pkey_numbers *ret,
                   struct prop_err *err)
{
    struct prop_secret **secrets[] = { &ret->d, &ret->p, &ret->q, &ret->dp, &ret->dq, &ret->qi };
    int rc = get_public(k, OSSL_PKEY_PARAM_RSA_N, 0, &ret->n, err);
    if (!rc)
        rc = get_public(k, OSSL_PKEY_PARAM_RSA_E, 0, &ret->e, err);
    /* A key that came as n, e, d alone has no primes to give. */
    size_t count = has_primes(prop_pkey_evp(k)) ? PROP_ARRAY_LEN(secrets) : 1;
    for (size_t i = 0; !rc && with_private && i < count; i++)
        rc = get_secret(k, rsa_names[i], 0, secrets[i], err);
    return rc;
}

int prop_pkey_get_numbers(const struct prop_pkey *k, bool with_private,
                          struct prop_pkey_numbers *ret, struct prop_err *err)
{
    struct prop_pkey_numbers n;
    prop_pkey_numbers_init(&n);
    if (with_private && !prop_pkey_is_private(k))
        return prop_err_set(err, PROP_E_BUG, "no private half");
    enum prop_pkey_type type = prop_pkey_get_type(k);
    size_t width = field_bytes(type);
    int rc;
    if (type == PROP_PKEY_ED25519) {
        rc = get_ed25519(k, with_private, &n, err);
    } else if (type == PROP_PKEY_RSA) {
        rc = get_rsa(k, with_private, &n, err);
    } else {
        rc = get_public(k, OSSL_PKEY_PARAM_EC_PUB_X, width, &n.x, err);
        if (!rc)
            rc = get_public(k, OSSL_PKEY_PARAM_EC_PUB_Y, width, &n.y, err);
        if (!rc && with_private)
            rc = get_secret(k, OSSL_PKEY_PARAM_PRIV_KEY, width, &n.d, err);
    }
    if (rc)
        prop_pkey_numbers_release(&n);
    else
        *ret = n;
    return rc;
}

static int bad_numbers(struct prop_err *err, const char *why)
{
    ERR_clear_error();
    return prop_err_set_id(err, PROP_E_INPUT, "bad-key-numbers", "the key's numbers are wrong: %s", why);
}

static int build_ed25519(const struct prop_pkey_numbers *n, EVP_PKEY **ret, struct prop_err *err)
{
    if (n->x.len != 32 || (n->d && prop_secret_len(n->d) != 32))
        return bad_numbers(err, "Ed25519 keys have 32 bytes");
    EVP_PKEY *evp = n->d ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
                                                        prop_secret_data(n->d), 32)
                         : EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, n->x.data, 32);
    if (!evp)
        return bad_numbers(err, "Ed25519");
    uint8_t pub[32];
    size_t len = sizeof pub;
    if (EVP_PKEY_get_raw_public_key(evp, pub, &len) != 1 || memcmp(pub, n->x.data, 32) != 0) {
        EVP_PKEY_free(evp);
        return bad_numbers(err, "the private and the public half do not belong together");
    }
    *ret = evp;
    return 0;
}

/* Parameters are collected with their BIGNUMs, which must live until the key is made. */
struct params {
    OSSL_PARAM_BLD *bld;
    BIGNUM *bn[8];
    size_t n;
};

static int push_bn(struct params *p, const char *name, const uint8_t *data, size_t len, bool secret)
{
    BIGNUM *bn = secret ? BN_secure_new() : BN_new();
    p->bn[p->n++] = bn;
    return bn && len <= MAX_NUMBER && BN_bin2bn(data, (int)len, bn) &&
           OSSL_PARAM_BLD_push_BN(p->bld, name, bn) == 1 ? 0 : -1;
}

static int push_ec(struct params *p, enum prop_pkey_type type, const struct prop_pkey_numbers *n,
                   uint8_t point[133])
{
    static const char *const group[] = { [PROP_PKEY_P256] = "P-256", [PROP_PKEY_P384] = "P-384",
                                         [PROP_PKEY_P521] = "P-521" };
    size_t width = field_bytes(type);
    if (n->x.len != width || n->y.len != width || (n->d && prop_secret_len(n->d) != width))
        return -1;
    point[0] = 4; /* uncompressed, SEC 1 section 2.3.3 */
    memcpy(point + 1, n->x.data, width);
    memcpy(point + 1 + width, n->y.data, width);
    if (OSSL_PARAM_BLD_push_utf8_string(p->bld, OSSL_PKEY_PARAM_GROUP_NAME, group[type], 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(p->bld, OSSL_PKEY_PARAM_PUB_KEY, point, 2 * width + 1) != 1)
        return -1;
    return n->d ? push_bn(p, OSSL_PKEY_PARAM_PRIV_KEY, prop_secret_data(n->d), width, true) : 0;
}

static int push_rsa(struct params *p, const struct prop_pkey_numbers *n)
{
    struct prop_secret *const secrets[] = { n->d, n->p, n->q, n->dp, n->dq, n->qi };
    if (!n->n.len || !n->e.len ||
        push_bn(p, OSSL_PKEY_PARAM_RSA_N, n->n.data, n->n.len, false) ||
        push_bn(p, OSSL_PKEY_PARAM_RSA_E, n->e.data, n->e.len, false))
        return -1;
    for (size_t i = 0; n->d && i < PROP_ARRAY_LEN(secrets); i++) {
        if (!secrets[i])
            continue; /* d alone is a valid JWK; the primes come together or not at all */
        if (push_bn(p, rsa_names[i], prop_secret_data(secrets[i]), prop_secret_len(secrets[i]), true))
            return -1;
    }
    return 0;
}

static EVP_PKEY *key_from_params(struct params *p, const char *kind, int selection)
{
    EVP_PKEY *evp = NULL;
    OSSL_PARAM *list = OSSL_PARAM_BLD_to_param(p->bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (!list || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &evp, selection, list) != 1)
        evp = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(list);
    return evp;
}

/* The halves of an RSA key without primes, which OpenSSL's own check needs: (2^e)^d = 2 mod n. */
static int check_bare_rsa(EVP_PKEY *evp)
{
    BIGNUM *n = NULL, *e = NULL, *d = BN_secure_new(), *m = BN_new();
    BN_CTX *ctx = BN_CTX_secure_new();
    int ok = d && m && ctx && EVP_PKEY_get_bn_param(evp, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
             EVP_PKEY_get_bn_param(evp, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
             EVP_PKEY_get_bn_param(evp, OSSL_PKEY_PARAM_RSA_D, &d) == 1 && BN_is_odd(n) &&
             BN_cmp(d, n) < 0 && BN_set_word(m, 2) == 1 && BN_mod_exp(m, m, e, n, ctx) == 1 &&
             BN_mod_exp_mont_consttime(m, m, d, n, ctx, NULL) == 1 && BN_is_word(m, 2);
    BN_CTX_free(ctx);
    BN_free(m);
    BN_clear_free(d);
    BN_free(e);
    BN_free(n);
    return ok ? 0 : -1;
}

/* Is the point on the curve, do the halves fit? */
static int check_key(EVP_PKEY *evp, bool pair)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, evp, NULL);
    bool bare = pair && EVP_PKEY_get_base_id(evp) == EVP_PKEY_RSA && !has_primes(evp);
    int ok = ctx && EVP_PKEY_public_check(ctx) == 1;
    if (ok && pair)
        ok = bare ? check_bare_rsa(evp) == 0 : EVP_PKEY_pairwise_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok ? 0 : -1;
}

int prop_pkey_from_numbers(enum prop_pkey_type type, const struct prop_pkey_numbers *n,
                           struct prop_pkey **ret, struct prop_err *err)
{
    EVP_PKEY *evp = NULL;
    int rc = 0;
    if (type == PROP_PKEY_ED25519) {
        rc = build_ed25519(n, &evp, err);
    } else {
        struct params p = { OSSL_PARAM_BLD_new(), { NULL }, 0 };
        uint8_t point[133];
        int bad = !p.bld || (type == PROP_PKEY_RSA ? push_rsa(&p, n) : push_ec(&p, type, n, point));
        if (!bad)
            evp = key_from_params(&p, type == PROP_PKEY_RSA ? "RSA" : "EC",
                                  n->d ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY);
        for (size_t i = 0; i < p.n; i++)
            BN_clear_free(p.bn[i]);
        OSSL_PARAM_BLD_free(p.bld);
        if (!evp || check_key(evp, n->d != NULL)) {
            EVP_PKEY_free(evp);
            rc = bad_numbers(err, bad ? "missing, or of the wrong length" : "not a valid key");
        }
    }
    return rc ? rc : prop_pkey_wrap(evp, n->d != NULL, "the key", ret, err);
}
