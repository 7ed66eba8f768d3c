#include "crypto/passbox.h"

#include "util/limits.h"

#include <sodium.h>
#include <string.h>

enum {
    MAGIC = 16,
    NUMBERS = 8,
    SALT = crypto_pwhash_argon2id_SALTBYTES,
    HEADER = crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    MORE = crypto_secretstream_xchacha20poly1305_ABYTES,
    HEAD = MAGIC + NUMBERS + SALT + HEADER, /* all that is not encrypted */
    PIECE = 64 << 10,
    KIB_MIN = 8 << 10,
    KIB_MAX = 1 << 20,
    PASSES = 3,
    PASSES_MAX = 16
};
static const uint8_t magic[MAGIC] = "prop sealed 1\n";
static const size_t magic_words = 12; /* of it before the version */

static void put_u32(uint8_t *p, uint32_t n)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int derive(const struct prop_secret *passphrase, const uint8_t head[HEAD],
                  struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *key = NULL;
    int rc = prop_secret_new(crypto_secretstream_xchacha20poly1305_KEYBYTES, &key, err);
    if (rc < 0)
        return rc;
    /* The only failure there is: memory. */
    if (crypto_pwhash(prop_secret_bytes(key), prop_secret_len(key),
                      (const char *)prop_secret_data(passphrase), prop_secret_len(passphrase),
                      head + MAGIC + NUMBERS, get_u32(head + MAGIC),
                      (size_t)get_u32(head + MAGIC + 4) << 10,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return prop_err_nomem(err);
    *ret = PROP_TAKE(key);
    return 0;
}

static int push(crypto_secretstream_xchacha20poly1305_state *st, const uint8_t *data, size_t len,
                const uint8_t *head, uint8_t tag, struct prop_buf *out, struct prop_err *err)
{
    int rc = prop_buf_reserve(out, len + MORE, err);
    if (rc < 0)
        return rc;
    (void)crypto_secretstream_xchacha20poly1305_push(st, out->data + out->len, NULL, data, len,
                                                     head, head ? HEAD : 0, tag);
    out->len += len + MORE;
    out->data[out->len] = 0;
    return 0;
}

int prop_passbox_seal(const struct prop_secret *passphrase, uint64_t memory_bytes,
                      const struct prop_secret *data, struct prop_buf *out, struct prop_err *err)
{
    uint8_t head[HEAD];
    uint64_t kib = memory_bytes >> 10;
    prop_auto_secret struct prop_secret *key = NULL;
    crypto_secretstream_xchacha20poly1305_state st;
    if (kib < KIB_MIN || kib > KIB_MAX)
        return prop_err_set_id(err, PROP_E_USAGE, "sealed-cost",
                               "the memory to make a key with is 8 MiB to 1 GiB");
    memcpy(head, magic, MAGIC);
    put_u32(head + MAGIC, PASSES);
    put_u32(head + MAGIC + 4, (uint32_t)kib);
    randombytes_buf(head + MAGIC + NUMBERS, SALT);
    int rc = derive(passphrase, head, &key, err);
    if (rc < 0)
        return rc;
    (void)crypto_secretstream_xchacha20poly1305_init_push(&st, head + HEAD - HEADER,
                                                          prop_secret_data(key));
    rc = prop_buf_add(out, head, HEAD, err);
    if (rc == 0)
        rc = push(&st, NULL, 0, head, 0, out, err);
    const uint8_t *p = prop_secret_data(data);
    size_t left = prop_secret_len(data);
    do {
        size_t n = left > PIECE ? PIECE : left;
        left -= n;
        if (rc == 0)
            rc = push(&st, p, n, NULL, left ? 0 : crypto_secretstream_xchacha20poly1305_TAG_FINAL,
                      out, err);
        p += n;
    } while (left);
    prop_wipe(&st, sizeof st);
    return rc;
}

static int check_head(const uint8_t *sealed, size_t len, const char *what, struct prop_err *err)
{
    if (len < magic_words || memcmp(sealed, magic, magic_words) != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "not-sealed", "%s is no backup of ours", what);
    if (len < MAGIC || memcmp(sealed, magic, MAGIC) != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "sealed-version",
                               "%s is of another version, this tool knows 1", what);
    if (len < HEAD + MORE + MORE)
        return prop_err_set_id(err, PROP_E_VERIFY, "sealed-damaged", "%s is cut off", what);
    uint32_t passes = get_u32(sealed + MAGIC), kib = get_u32(sealed + MAGIC + 4);
    if (passes < 1 || passes > PASSES_MAX || kib < KIB_MIN || kib > KIB_MAX)
        return prop_err_set_id(err, PROP_E_LIMIT, "sealed-cost",
                               "%s asks for %u passes over %u KiB", what, passes, kib);
    return 0;
}

static int wrong_passphrase(const char *what, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_VERIFY, "wrong-passphrase",
                          "%s does not open with this passphrase", what);
    return prop_err_hint(err, "is it the passphrase of this backup? a file damaged at its very "
                              "beginning looks the same");
}

/* The pieces behind the empty one. */
static int pull_all(crypto_secretstream_xchacha20poly1305_state *st, const uint8_t *p, size_t left,
                    const char *what, struct prop_secret *plain, size_t *ret_len,
                    struct prop_err *err)
{
    uint8_t tag = 0;
    size_t got = 0;
    while (left >= MORE && tag != crypto_secretstream_xchacha20poly1305_TAG_FINAL) {
        size_t n = left > PIECE + MORE ? PIECE + MORE : left;
        if (crypto_secretstream_xchacha20poly1305_pull(st, prop_secret_bytes(plain) + got, NULL,
                                                       &tag, p, n, NULL, 0) != 0)
            break;
        got += n - MORE;
        p += n;
        left -= n;
    }
    if (tag != crypto_secretstream_xchacha20poly1305_TAG_FINAL || left)
        return prop_err_set_id(err, PROP_E_VERIFY, "sealed-damaged", "%s is damaged", what);
    *ret_len = got;
    return 0;
}

int prop_passbox_open(const struct prop_secret *passphrase, const void *sealed, size_t len,
                      const char *what, struct prop_secret **ret, struct prop_err *err)
{
    const uint8_t *p = sealed;
    uint8_t tag = 0, nothing[1];
    size_t got = 0;
    prop_auto_secret struct prop_secret *key = NULL;
    prop_auto_secret struct prop_secret *plain = NULL;
    crypto_secretstream_xchacha20poly1305_state st;
    int rc = check_head(p, len, what, err);
    if (rc == 0)
        rc = prop_secret_new(len, &plain, err);
    if (rc == 0)
        rc = derive(passphrase, p, &key, err);
    if (rc < 0)
        return rc;
    if (crypto_secretstream_xchacha20poly1305_init_pull(&st, p + HEAD - HEADER,
                                                        prop_secret_data(key)) != 0 ||
        crypto_secretstream_xchacha20poly1305_pull(&st, nothing, NULL, &tag, p + HEAD, MORE, p,
                                                   HEAD) != 0)
        rc = wrong_passphrase(what, err);
    if (rc == 0)
        rc = pull_all(&st, p + HEAD + MORE, len - HEAD - MORE, what, plain, &got, err);
    prop_wipe(&st, sizeof st);
    if (rc < 0)
        return rc;
    prop_secret_truncate(plain, got);
    *ret = PROP_TAKE(plain);
    return 0;
}
