/* Writing JWE: A256GCM content, a fresh content key and IV per message. */
#include "jose/jwe.h"

#include "crypto/cipher.h"
#include "crypto/random.h"
#include "jose/jwe_alg.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

#define ENC "A256GCM"
#define CEK_BYTES 32
#define IV_BYTES 12
#define WRAPPED_MAX 2048 /* an RSA block of 8192 bits, with room */

/* The row to write with: the one asked for, or the key's default. */
static int choose(const struct prop_pkey *key, const char *name, unsigned flags,
                  const struct prop_jwe_alg **ret, struct prop_err *err)
{
    unsigned may = PROP_JWE_WRITE | (flags & PROP_JWE_ALLOW_RSA1_5 ? PROP_JWE_WRITE_ASKED : 0u);
    const struct prop_jwe_alg *a = name ? prop_jwe_alg_find(name) : prop_jwe_alg_default(key);
    if (!a && !name)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwe-alg",
                               "a signature key cannot be encrypted to");
    if (!a || !(a->use & may))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwe-alg",
                               "JWE key management '%.40s' is not written here", name);
    if (!prop_jwe_alg_fits(a, key))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "jwe-alg",
                               "'%s' does not work with this kind of key", a->name);
    *ret = a;
    return 0;
}

static int set_text(json_t *o, const char *name, const char *value, struct prop_err *err)
{
    return json_object_set_new(o, name, json_string(value)) ? prop_err_nomem(err) : 0;
}

/* Everything of one message but its recipients. */
struct content {
    struct prop_secret *cek;
    struct prop_buf protected_text;     /* base64url */
    struct prop_buf iv, ciphertext, tag; /* base64url */
};

#define TEXT_INIT PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER)
#define CONTENT_INIT { NULL, TEXT_INIT, TEXT_INIT, TEXT_INIT, TEXT_INIT }

static void content_release(struct content *c)
{
    prop_secret_free(c->cek);
    prop_buf_release(&c->protected_text);
    prop_buf_release(&c->iv);
    prop_buf_release(&c->ciphertext);
    prop_buf_release(&c->tag);
}
#define auto_content __attribute__((cleanup(content_release)))

static int set_protected(struct content *c, const json_t *header, struct prop_err *err)
{
    prop_auto_free char *json = prop_json_compact(header);
    if (!json)
        return prop_err_nomem(err);
    return prop_b64_append(&c->protected_text, PROP_B64_URL, json, strlen(json), err);
}

/* With the protected header in place: encrypt, and turn all parts into text. */
static int seal(struct content *c, const struct prop_secret *plaintext, struct prop_err *err)
{
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    uint8_t iv[IV_BYTES], tag[16];
    size_t len = prop_secret_len(plaintext);

    prop_random(iv, sizeof(iv));
    int rc = prop_buf_reserve(&out, len, err);
    if (rc == 0)
        rc = prop_gcm_seal(c->cek, iv, sizeof(iv), c->protected_text.data, c->protected_text.len,
                           prop_secret_data(plaintext), len, out.data, tag, err);
    if (rc == 0)
        rc = prop_b64_append(&c->iv, PROP_B64_URL, iv, sizeof(iv), err);
    if (rc == 0)
        rc = prop_b64_append(&c->ciphertext, PROP_B64_URL, out.data, len, err);
    return rc ? rc : prop_b64_append(&c->tag, PROP_B64_URL, tag, sizeof(tag), err);
}

/* Wrap the content key for one recipient; `text` receives it as base64url. */
static int wrap(const struct prop_jwe_alg *alg, const struct prop_pkey *recipient,
                const struct prop_secret *cek, json_t *header, struct prop_buf *text,
                struct prop_err *err)
{
    prop_auto_buf struct prop_buf key = PROP_BUF_INIT(WRAPPED_MAX);
    int rc = alg->wrap(alg, recipient, cek, header, &key, err);
    return rc ? rc : prop_b64_append(text, PROP_B64_URL, key.data, key.len, err);
}

int prop_jwe_encrypt(const struct prop_secret *plaintext, const struct prop_pkey *recipient,
                     const char *alg, const char *kid, unsigned flags, struct prop_buf *out,
                     struct prop_err *err)
{
    const struct prop_jwe_alg *a = NULL;
    auto_content struct content c = CONTENT_INIT;
    prop_auto_buf struct prop_buf key = PROP_BUF_INIT(2 * WRAPPED_MAX);
    prop_auto_json json_t *header = json_object();

    int rc = header ? choose(recipient, alg, flags, &a, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = prop_random_secret(CEK_BYTES, &c.cek, err);
    if (rc == 0)
        rc = set_text(header, "alg", a->name, err);
    if (rc == 0)
        rc = set_text(header, "enc", ENC, err);
    if (rc == 0)
        rc = wrap(a, recipient, c.cek, header, &key, err);
    if (rc == 0 && kid)
        rc = set_text(header, "kid", kid, err);
    if (rc == 0)
        rc = set_protected(&c, header, err);
    if (rc == 0)
        rc = seal(&c, plaintext, err);
    if (rc)
        return rc;
    if (flags & PROP_JWE_COMPACT)
        return prop_buf_printf(out, err, "%s.%s.%s.%s.%s", prop_buf_str(&c.protected_text),
                               prop_buf_str(&key), prop_buf_str(&c.iv),
                               prop_buf_str(&c.ciphertext), prop_buf_str(&c.tag));
    return prop_buf_printf(out, err,
                           "{\"protected\":\"%s\",\"encrypted_key\":\"%s\",\"iv\":\"%s\","
                           "\"ciphertext\":\"%s\",\"tag\":\"%s\"}",
                           prop_buf_str(&c.protected_text), prop_buf_str(&key),
                           prop_buf_str(&c.iv), prop_buf_str(&c.ciphertext),
                           prop_buf_str(&c.tag));
}

/* {"header":{"alg","epk"?},"encrypted_key"} */
static int add_recipient(json_t *list, const struct prop_pkey *recipient,
                         const struct prop_secret *cek, struct prop_err *err)
{
    const struct prop_jwe_alg *a = NULL;
    prop_auto_buf struct prop_buf key = PROP_BUF_INIT(2 * WRAPPED_MAX);
    prop_auto_json json_t *header = json_object();

    int rc = header ? choose(recipient, NULL, 0, &a, err) : prop_err_nomem(err);
    if (rc == 0)
        rc = set_text(header, "alg", a->name, err);
    if (rc == 0)
        rc = wrap(a, recipient, cek, header, &key, err);
    if (rc)
        return rc;
    json_t *entry = json_pack("{s:O, s:s}", "header", header, "encrypted_key", prop_buf_str(&key));
    return json_array_append_new(list, entry) ? prop_err_nomem(err) : 0;
}

int prop_jwe_encrypt_general(const struct prop_secret *plaintext,
                             const struct prop_pkey *const *recipients, size_t n,
                             struct prop_buf *out, struct prop_err *err)
{
    auto_content struct content c = CONTENT_INIT;
    prop_auto_json json_t *header = json_pack("{s:s}", "enc", ENC);
    prop_auto_json json_t *list = json_array();

    if (!header || !list)
        return prop_err_nomem(err);
    if (n == 0 || n > PROP_LIMIT_RECIPIENTS)
        return prop_err_set_id(err, PROP_E_LIMIT, "jwe-recipients",
                               "a JWE has 1 to %d recipients, not %zu", PROP_LIMIT_RECIPIENTS, n);
    int rc = prop_random_secret(CEK_BYTES, &c.cek, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = add_recipient(list, recipients[i], c.cek, err);
    if (rc == 0)
        rc = set_protected(&c, header, err);
    if (rc == 0)
        rc = seal(&c, plaintext, err);
    if (rc)
        return rc;
    prop_auto_free char *text = prop_json_compact(list);
    if (!text)
        return prop_err_nomem(err);
    return prop_buf_printf(out, err,
                           "{\"protected\":\"%s\",\"recipients\":%s,\"iv\":\"%s\","
                           "\"ciphertext\":\"%s\",\"tag\":\"%s\"}",
                           prop_buf_str(&c.protected_text), text, prop_buf_str(&c.iv),
                           prop_buf_str(&c.ciphertext), prop_buf_str(&c.tag));
}
