/* KEKs: 32 bytes, in one of the two forms that are in use. */
#include "keys/keyfile.h"

#include "crypto/digest.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

#define KEK_BYTES 32
#define KEK_TEXT 44 /* base64 of 32 bytes */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int refuse(const char *what, size_t len, struct prop_err *err)
{
    int rc = prop_err_set_id(err, PROP_E_INPUT, "kek-length",
                             "%s is not a KEK: it has %zu bytes, a KEK is 32 raw bytes or their "
                             "base64", what, len);
    (void)prop_err_hint(err, "make one with: propkey gen, or openssl rand -out kek.bin 32");
    return rc;
}

int prop_kek_from_bytes(const struct prop_secret *bytes, const char *what,
                        struct prop_secret **ret_kek, struct prop_err *err)
{
    const uint8_t *p = prop_secret_data(bytes);
    size_t len = prop_secret_len(bytes);
    if (len == KEK_BYTES)
        return prop_secret_copy(p, len, ret_kek, err);

    while (len && is_space(p[len - 1]))
        len--;
    while (len && is_space(p[0])) {
        p++;
        len--;
    }
    prop_auto_secret struct prop_secret *kek = NULL;
    if (len != KEK_TEXT)
        return refuse(what, prop_secret_len(bytes), err);
    int rc = prop_b64_decode_secret(PROP_B64_STD, (const char *)p, len, what, &kek, NULL);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc || prop_secret_len(kek) != KEK_BYTES)
        return refuse(what, prop_secret_len(bytes), err);
    *ret_kek = PROP_TAKE(kek);
    return 0;
}

int prop_kek_read(const char *path, struct prop_secret **ret_kek, struct prop_err *err)
{
    char what[320];
    prop_auto_secret struct prop_secret *bytes = NULL;
    int rc = prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_ANY_MODE, &bytes,
                                   err);
    if (rc)
        return rc;
    (void)snprintf(what, sizeof(what), "'%.300s'", path);
    return prop_kek_from_bytes(bytes, what, ret_kek, err);
}

int prop_kek_fingerprint(const struct prop_secret *kek, char out[17], struct prop_err *err)
{
    static const char label[] = "propkey kek fingerprint"; /* keeps it apart from other hashes */
    prop_auto_hash struct prop_hash *h = NULL;
    struct prop_digest d;
    int rc = prop_hash_new(PROP_SHA256, &h, err);
    if (rc == 0)
        rc = prop_hash_update(h, label, strlen(label), err);
    if (rc == 0)
        rc = prop_hash_update(h, prop_secret_data(kek), prop_secret_len(kek), err);
    if (rc == 0)
        rc = prop_hash_final(h, &d, err);
    if (rc == 0)
        prop_hex_encode(d.bytes, 8, out);
    return rc;
}
