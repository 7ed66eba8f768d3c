/* ID block and ID authentication: numbers little-endian, as the processor's firmware reads them. */
#include "tee/idblock.h"

#include "tee/le.h"

#include <string.h>

enum {
    KEY = 1028, KEY_X = 4, KEY_Y = 76, SIGNATURE_S = 72, NUMBER = 48, P384 = 2, ECDSA_P384 = 1,
    AUTH_BLOCK_SIG = 64, AUTH_ID_KEY = 576, AUTH_KEY_SIG = 1664, AUTH_AUTHOR_KEY = 2176
};

void prop_id_block_bytes(const struct prop_id_block *b, uint8_t ret[PROP_ID_BLOCK])
{
    memcpy(ret, b->launch_digest, 48);
    memcpy(ret + 48, b->family_id, 16);
    memcpy(ret + 64, b->image_id, 16);
    prop_put_le32(ret + 80, 1);
    prop_put_le32(ret + 84, b->guest_svn);
    prop_put_le64(ret + 88, b->policy);
}

static void reversed(uint8_t *to, const uint8_t *from)
{
    for (int i = 0; i < NUMBER; i++)
        to[i] = from[NUMBER - 1 - i];
}

static int key_struct(const struct prop_pkey *key, uint8_t ret[KEY], struct prop_err *err)
{
    if (prop_pkey_get_type(key) != PROP_PKEY_P384)
        return prop_err_set_id(err, PROP_E_INPUT, "id-key", "the key is not on P-384");
    struct prop_pkey_numbers n;
    prop_pkey_numbers_init(&n);
    int rc = prop_pkey_get_numbers(key, false, &n, err);
    if (rc == 0 && (n.x.len != NUMBER || n.y.len != NUMBER))
        rc = prop_err_set(err, PROP_E_BUG, "length of a P-384 number");
    if (rc == 0) {
        memset(ret, 0, KEY);
        prop_put_le32(ret, P384);
        reversed(ret + KEY_X, n.x.data);
        reversed(ret + KEY_Y, n.y.data);
    }
    prop_pkey_numbers_release(&n);
    return rc;
}

/* r and s of the signature over `data`, at `ret`, whose 512 bytes are zero. */
static int sign(const struct prop_pkey *key, const uint8_t *data, size_t len, uint8_t *ret,
                struct prop_err *err)
{
    prop_auto_buf struct prop_buf sig = PROP_BUF_INIT(2 * NUMBER);
    if (!prop_pkey_is_private(key))
        return prop_err_set_id(err, PROP_E_INPUT, "id-key", "the key is a public one");
    int rc = prop_sign(key, data, len, &sig, err);
    if (rc < 0)
        return rc;
    if (sig.len != 2 * NUMBER)
        return prop_err_set(err, PROP_E_BUG, "length of a P-384 signature");
    reversed(ret, sig.data);
    reversed(ret + SIGNATURE_S, sig.data + NUMBER);
    return 0;
}

int prop_id_auth(const uint8_t block[PROP_ID_BLOCK], const struct prop_pkey *id_key,
                 const struct prop_pkey *author, uint8_t ret[PROP_ID_AUTH], struct prop_err *err)
{
    uint8_t auth[PROP_ID_AUTH] = { 0 };
    prop_put_le32(auth, ECDSA_P384);
    prop_put_le32(auth + 4, ECDSA_P384);
    int rc = key_struct(id_key, auth + AUTH_ID_KEY, err);
    if (rc == 0)
        rc = sign(id_key, block, PROP_ID_BLOCK, auth + AUTH_BLOCK_SIG, err);
    if (rc == 0 && author)
        rc = key_struct(author, auth + AUTH_AUTHOR_KEY, err);
    if (rc == 0 && author)
        rc = sign(author, auth + AUTH_ID_KEY, KEY, auth + AUTH_KEY_SIG, err);
    if (rc == 0)
        memcpy(ret, auth, sizeof auth);
    return rc;
}

int prop_id_key_digest(const struct prop_pkey *key, uint8_t ret[48], struct prop_err *err)
{
    uint8_t bytes[KEY];
    struct prop_digest d;
    int rc = key_struct(key, bytes, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA384, bytes, sizeof bytes, &d, err);
    if (rc == 0)
        memcpy(ret, d.bytes, 48);
    return rc;
}
