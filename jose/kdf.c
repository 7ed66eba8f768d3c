/* Concat KDF with SHA-256: one round, because no key wrapped with it is longer than one digest. */
#include "jose/kdf.h"

#include "crypto/digest.h"
#include "util/mem.h"

#include <string.h>

static int add_u32(struct prop_hash *h, size_t v, struct prop_err *err)
{
    uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    return prop_hash_update(h, b, sizeof(b), err);
}

/* Datalen || Data */
static int add_counted(struct prop_hash *h, const void *data, size_t len, struct prop_err *err)
{
    int rc = add_u32(h, len, err);
    if (rc == 0 && len > 0)
        rc = prop_hash_update(h, data, len, err);
    return rc;
}

int prop_kdf_concat(const struct prop_secret *z, const char *alg_id, const void *apu,
                    size_t apu_len, const void *apv, size_t apv_len, size_t key_bytes,
                    struct prop_secret **ret, struct prop_err *err)
{
    if (key_bytes == 0 || key_bytes > 32)
        return prop_err_set(err, PROP_E_BUG, "a derived key of %zu bytes was asked for", key_bytes);

    prop_auto_hash struct prop_hash *h = NULL;
    struct prop_digest d;
    int rc = prop_hash_new(PROP_SHA256, &h, err);
    if (rc == 0)
        rc = add_u32(h, 1, err); /* round counter */
    if (rc == 0)
        rc = prop_hash_update(h, prop_secret_data(z), prop_secret_len(z), err);
    if (rc == 0)
        rc = add_counted(h, alg_id, strlen(alg_id), err);
    if (rc == 0)
        rc = add_counted(h, apu, apu_len, err);
    if (rc == 0)
        rc = add_counted(h, apv, apv_len, err);
    if (rc == 0)
        rc = add_u32(h, key_bytes * 8, err); /* SuppPubInfo: the key's bits */
    if (rc == 0)
        rc = prop_hash_final(h, &d, err);
    if (rc)
        return rc;
    rc = prop_secret_copy(d.bytes, key_bytes, ret, err);
    prop_wipe(&d, sizeof(d));
    return rc;
}
