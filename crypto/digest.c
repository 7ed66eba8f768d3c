#include "crypto/digest.h"

#include "crypto/ossl.h"
#include "util/encode.h"

#include <openssl/core_names.h>
#include <stdio.h>
#include <string.h>

static const struct { const char *name; uint8_t len; } algs[] = {
    [PROP_SHA1] = { "sha1", 20 },
    [PROP_SHA256] = { "sha256", 32 },
    [PROP_SHA384] = { "sha384", 48 },
    [PROP_SHA512] = { "sha512", 64 },
};

size_t prop_hash_len(enum prop_hash_alg alg)
{
    return algs[alg].len;
}

const char *prop_hash_name(enum prop_hash_alg alg)
{
    return algs[alg].name;
}

int prop_digest_parse(const char *text, struct prop_digest *ret, struct prop_err *err)
{
    const char *colon = strchr(text, ':');
    if (!colon)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-digest",
                               "'%s' is not a digest (sha256:...)", text);
    struct prop_digest d = { PROP_SHA256, 0, { 0 } };
    size_t n = (size_t)(colon - text);
    if (n == 6 && memcmp(text, "sha512", 6) == 0)
        d.alg = PROP_SHA512;
    else if (n != 6 || memcmp(text, "sha256", 6) != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "digest-algorithm",
                               "digest '%s': only sha256 and sha512 are supported", text);
    d.len = algs[d.alg].len;
    const char *hex = colon + 1;
    if (prop_hex_decode(hex, strlen(hex), d.bytes, d.len) || strpbrk(hex, "ABCDEF"))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-digest",
                               "digest '%s' is not %d lower-case hex digits", text, 2 * d.len);
    *ret = d;
    return 0;
}

const char *prop_digest_hex(const struct prop_digest *d, char out[PROP_DIGEST_TEXT])
{
    prop_hex_encode(d->bytes, d->len, out);
    return out;
}

const char *prop_digest_format(const struct prop_digest *d, char out[PROP_DIGEST_TEXT])
{
    char hex[2 * PROP_HASH_MAX + 1];
    prop_hex_encode(d->bytes, d->len, hex);
    (void)snprintf(out, PROP_DIGEST_TEXT, "%s:%s", algs[d->alg].name, hex);
    return out;
}

bool prop_digest_equal(const struct prop_digest *a, const struct prop_digest *b)
{
    return a->alg == b->alg && a->len == b->len && a->len &&
           prop_bytes_equal(a->bytes, b->bytes, a->len);
}

int prop_digest_check(const struct prop_digest *got, const struct prop_digest *want,
                      const char *what, struct prop_err *err)
{
    if (prop_digest_equal(got, want))
        return 0;
    char a[PROP_DIGEST_TEXT], b[PROP_DIGEST_TEXT];
    return prop_err_set_id(err, PROP_E_VERIFY, "digest-mismatch", "digest of %s is %s, expected %s",
                           what, prop_digest_format(got, a), prop_digest_format(want, b));
}

int prop_digest_of(enum prop_hash_alg alg, const void *data, size_t len, struct prop_digest *ret,
                   struct prop_err *err)
{
    struct prop_digest d = { alg, algs[alg].len, { 0 } };
    if (EVP_Digest(data, len, d.bytes, NULL, prop_ossl_md(alg), NULL) != 1)
        return prop_ossl_error(err, prop_hash_name(alg));
    *ret = d;
    return 0;
}

/* Either a plain digest or an HMAC; HMAC is EVP_MAC, which is what OpenSSL 3 offers. */
struct prop_hash {
    enum prop_hash_alg alg;
    EVP_MD_CTX *md;
    EVP_MAC_CTX *mac;
};

int prop_hash_new(enum prop_hash_alg alg, struct prop_hash **ret, struct prop_err *err)
{
    prop_auto_hash struct prop_hash *h = prop_zalloc(sizeof *h);
    if (!h)
        return prop_err_nomem(err);
    h->alg = alg;
    h->md = EVP_MD_CTX_new();
    if (!h->md || EVP_DigestInit_ex2(h->md, prop_ossl_md(alg), NULL) != 1)
        return prop_ossl_error(err, prop_hash_name(alg));
    *ret = PROP_TAKE(h);
    return 0;
}

int prop_hmac_new(enum prop_hash_alg alg, const struct prop_secret *key, struct prop_hash **ret,
                  struct prop_err *err)
{
    prop_auto_hash struct prop_hash *h = prop_zalloc(sizeof *h);
    if (!h)
        return prop_err_nomem(err);
    h->alg = alg;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    h->mac = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    char name[8];
    (void)snprintf(name, sizeof name, "%s", algs[alg].name);
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                            OSSL_PARAM_construct_end() };
    if (!h->mac || EVP_MAC_init(h->mac, prop_secret_data(key), prop_secret_len(key), params) != 1)
        return prop_ossl_error(err, "HMAC");
    *ret = PROP_TAKE(h);
    return 0;
}

int prop_hash_update(struct prop_hash *h, const void *data, size_t len, struct prop_err *err)
{
    int ok = h->md ? EVP_DigestUpdate(h->md, data, len) : EVP_MAC_update(h->mac, data, len);
    return ok == 1 ? 0 : prop_ossl_error(err, prop_hash_name(h->alg));
}

int prop_hash_final(struct prop_hash *h, struct prop_digest *ret, struct prop_err *err)
{
    struct prop_digest d = { h->alg, algs[h->alg].len, { 0 } };
    size_t n;
    int ok = h->md ? EVP_DigestFinal_ex(h->md, d.bytes, NULL)
                   : EVP_MAC_final(h->mac, d.bytes, &n, sizeof d.bytes);
    if (ok != 1)
        return prop_ossl_error(err, prop_hash_name(h->alg));
    *ret = d;
    return 0;
}

void prop_hash_free(struct prop_hash *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->md);
    EVP_MAC_CTX_free(h->mac);
    prop_free(h);
}
