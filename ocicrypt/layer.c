/* AES_256_CTR_HMAC_SHA256 over a ring of chunks (crypto/parhash.h).
 *
 * Lane 0 is ciphertext, lane 1 plaintext. Encrypting: the caller's bytes are ciphered straight into
 * lane 0, for HMAC and digest, and copied into lane 1 unless their digest is known. Decrypting:
 * ciphertext is copied into lane 0, for the HMAC, and deciphered into lane 1, for the plaintext's
 * digest; the blob's own digest is checked by whoever delivers it. */
#include "ocicrypt/layer.h"

#include "crypto/cipher.h"
#include "crypto/parhash.h"
#include "crypto/random.h"
#include "ocicrypt/layer_internal.h"
#include "ocicrypt/options.h"

#include <string.h>

struct prop_layer_enc {
    prop_layer_sink sink;
    void *ctx;
    struct prop_secret *key;
    uint8_t nonce[PROP_LAYER_NONCE];
    struct prop_ctr *ctr;
    struct prop_digest known; /* of the plaintext; len 0 = to be found out */
    struct prop_parhash *ring;
    size_t hmac, digest, plain; /* numbers in the ring */
    bool hash_plain;            /* `plain` is there */
    uint8_t *chunk;             /* NULL = none begun */
    uint8_t *copy;              /* plaintext of it, if that is hashed */
    size_t fill;
    uint64_t size;
};

struct prop_layer_dec {
    prop_layer_sink sink;
    void *ctx;
    struct prop_layer_options options;
    struct prop_ctr *ctr;
    struct prop_parhash *ring;
    size_t hmac, digest;
    uint8_t *chunk, *plain;
    size_t fill;
};

/* A hash, or an HMAC with a key, over one lane. */
static int add_hash(struct prop_parhash *ring, size_t lane, const struct prop_secret *key,
                    size_t *ret, struct prop_err *err)
{
    struct prop_hash *h = NULL;
    int rc = key ? prop_hmac_new(PROP_SHA256, key, &h, err) : prop_hash_new(PROP_SHA256, &h, err);
    return rc != 0 ? rc : prop_parhash_add(ring, lane, h, ret, err);
}

int prop_layer_enc_new_with(const struct prop_secret *key, const uint8_t nonce[16],
                            prop_layer_sink sink, void *ctx, struct prop_layer_enc **ret,
                            struct prop_err *err)
{
    int rc;
    struct prop_layer_enc *e = prop_zalloc(sizeof(*e));
    if (!e)
        return prop_err_nomem(err);
    e->sink = sink;
    e->ctx = ctx;
    memcpy(e->nonce, nonce, sizeof(e->nonce));
    if ((rc = prop_secret_copy(prop_secret_data(key), prop_secret_len(key), &e->key, err)) != 0 ||
        (rc = prop_ctr_new(key, nonce, &e->ctr, err)) != 0 ||
        (rc = prop_parhash_new(2, &e->ring, err)) != 0 ||
        (rc = add_hash(e->ring, 0, key, &e->hmac, err)) != 0 ||
        (rc = add_hash(e->ring, 0, NULL, &e->digest, err)) != 0) {
        prop_layer_enc_free(e);
        return rc;
    }
    *ret = e;
    return 0;
}

int prop_layer_enc_new(prop_layer_sink sink, void *ctx, struct prop_layer_enc **ret,
                       struct prop_err *err)
{
    prop_auto_secret struct prop_secret *key = NULL;
    uint8_t nonce[PROP_LAYER_NONCE];
    int rc = prop_random_secret(PROP_LAYER_KEY, &key, err);
    if (rc != 0)
        return rc;
    prop_random(nonce, sizeof(nonce));
    rc = prop_layer_enc_new_with(key, nonce, sink, ctx, ret, err);
    prop_wipe(nonce, sizeof(nonce));
    return rc;
}

void prop_layer_enc_known_plain(struct prop_layer_enc *e, const struct prop_digest *plain)
{
    e->known = *plain;
}

/* The chunk goes to the sink and to the hashes. */
static int enc_flush(struct prop_layer_enc *e, struct prop_err *err)
{
    int rc = e->sink(e->ctx, e->chunk, e->fill, err);
    if (rc == 0)
        rc = prop_parhash_submit(e->ring, e->fill, err);
    e->size += e->fill;
    e->chunk = e->copy = NULL;
    e->fill = 0;
    return rc;
}

static int enc_begin(struct prop_layer_enc *e, struct prop_err *err)
{
    int rc = 0;
    if (e->known.len == 0 && !e->hash_plain) {
        if ((rc = add_hash(e->ring, 1, NULL, &e->plain, err)) != 0)
            return rc;
        e->hash_plain = true;
    }
    if (e->hash_plain)
        rc = prop_parhash_lane(e->ring, 1, &e->copy, err);
    return rc != 0 ? rc : prop_parhash_lane(e->ring, 0, &e->chunk, err);
}

int prop_layer_enc_update(struct prop_layer_enc *e, const void *data, size_t len,
                          struct prop_err *err)
{
    const uint8_t *in = data;
    while (len > 0) {
        int rc = 0;
        if (!e->chunk && (rc = enc_begin(e, err)) != 0)
            return rc;
        size_t n = PROP_PARHASH_CHUNK - e->fill;
        if (n > len)
            n = len;
        if ((rc = prop_ctr_update(e->ctr, in, n, e->chunk + e->fill, err)) != 0)
            return rc;
        if (e->copy)
            memcpy(e->copy + e->fill, in, n);
        e->fill += n;
        in += n;
        len -= n;
        if (e->fill == PROP_PARHASH_CHUNK && (rc = enc_flush(e, err)) != 0)
            return rc;
    }
    return 0;
}

int prop_layer_enc_final(struct prop_layer_enc *e, struct prop_layer_sealed *ret,
                         struct prop_err *err)
{
    struct prop_layer_sealed s = { .plain = e->known };
    struct prop_digest hmac;
    int rc = 0;
    if (e->fill > 0 && (rc = enc_flush(e, err)) != 0)
        return rc;
    s.size = e->size;
    if (e->hash_plain)
        rc = prop_parhash_final(e->ring, e->plain, &s.plain, err);
    else if (e->known.len == 0) /* not a byte came */
        rc = prop_digest_of(PROP_SHA256, "", 0, &s.plain, err);
    if (rc != 0 ||
        (rc = prop_parhash_final(e->ring, e->hmac, &hmac, err)) != 0 ||
        (rc = prop_parhash_final(e->ring, e->digest, &s.cipher, err)) != 0 ||
        (rc = prop_layer_pubopts_write(hmac.bytes, &s.pubopts, err)) != 0 ||
        (rc = prop_layer_privopts_write(e->key, e->nonce, &s.plain, &s.privopts, err)) != 0) {
        prop_layer_sealed_release(&s);
        return rc;
    }
    *ret = s;
    return 0;
}

void prop_layer_enc_free(struct prop_layer_enc *e)
{
    if (!e)
        return;
    prop_parhash_free(e->ring);
    prop_ctr_free(e->ctr);
    prop_secret_free(e->key);
    prop_wipe(e->nonce, sizeof(e->nonce));
    prop_free(e);
}

void prop_layer_sealed_release(struct prop_layer_sealed *s)
{
    prop_free(s->pubopts);
    prop_secret_free(s->privopts);
    s->pubopts = NULL;
    s->privopts = NULL;
}

int prop_layer_dec_new(const char *pubopts, const struct prop_secret *privopts,
                       prop_layer_sink sink, void *ctx, struct prop_layer_dec **ret,
                       struct prop_err *err)
{
    int rc;
    struct prop_layer_dec *d = prop_zalloc(sizeof(*d));
    if (!d)
        return prop_err_nomem(err);
    d->sink = sink;
    d->ctx = ctx;
    if ((rc = prop_layer_options_read(pubopts, privopts, &d->options, err)) != 0 ||
        (rc = prop_ctr_new(d->options.key, d->options.nonce, &d->ctr, err)) != 0 ||
        (rc = prop_parhash_new(2, &d->ring, err)) != 0 ||
        (rc = add_hash(d->ring, 0, d->options.key, &d->hmac, err)) != 0 ||
        (rc = add_hash(d->ring, 1, NULL, &d->digest, err)) != 0) {
        prop_layer_dec_free(d);
        return rc;
    }
    *ret = d;
    return 0;
}

static int dec_begin(struct prop_layer_dec *d, struct prop_err *err)
{
    int rc = prop_parhash_lane(d->ring, 0, &d->chunk, err);
    return rc != 0 ? rc : prop_parhash_lane(d->ring, 1, &d->plain, err);
}

static int dec_flush(struct prop_layer_dec *d, struct prop_err *err)
{
    int rc = d->sink(d->ctx, d->plain, d->fill, err);
    if (rc == 0)
        rc = prop_parhash_submit(d->ring, d->fill, err);
    d->chunk = d->plain = NULL;
    d->fill = 0;
    return rc;
}

int prop_layer_dec_update(struct prop_layer_dec *d, const void *data, size_t len,
                          struct prop_err *err)
{
    const uint8_t *in = data;
    while (len > 0) {
        int rc = 0;
        if (!d->chunk && (rc = dec_begin(d, err)) != 0)
            return rc;
        size_t n = PROP_PARHASH_CHUNK - d->fill;
        if (n > len)
            n = len;
        memcpy(d->chunk + d->fill, in, n);
        if ((rc = prop_ctr_update(d->ctr, in, n, d->plain + d->fill, err)) != 0)
            return rc;
        d->fill += n;
        in += n;
        len -= n;
        if (d->fill == PROP_PARHASH_CHUNK && (rc = dec_flush(d, err)) != 0)
            return rc;
    }
    return 0;
}

int prop_layer_dec_final(struct prop_layer_dec *d, struct prop_digest *ret_plain,
                         struct prop_digest *ret_stated, struct prop_err *err)
{
    struct prop_digest hmac, plain;
    int rc = 0;
    if (d->fill > 0 && (rc = dec_flush(d, err)) != 0)
        return rc;
    if ((rc = prop_parhash_final(d->ring, d->hmac, &hmac, err)) != 0 ||
        (rc = prop_parhash_final(d->ring, d->digest, &plain, err)) != 0)
        return rc;
    if (!prop_bytes_equal(hmac.bytes, d->options.hmac, PROP_LAYER_HMAC))
        return prop_err_set_id(err, PROP_E_VERIFY, "hmac-mismatch",
                               "the layer's HMAC does not hold: blob or annotations were changed");
    *ret_plain = plain;
    if (ret_stated)
        *ret_stated = d->options.stated;
    return 0;
}

void prop_layer_dec_free(struct prop_layer_dec *d)
{
    if (!d)
        return;
    prop_parhash_free(d->ring);
    prop_ctr_free(d->ctr);
    prop_layer_options_release(&d->options);
    prop_free(d);
}
