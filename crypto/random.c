#include "crypto/random.h"

#include <openssl/crypto.h>
#include <sodium.h>
#include <stdio.h>

const char *prop_crypto_version(void)
{
    static char text[128];
    (void)snprintf(text, sizeof text, "%s, libsodium %s", OpenSSL_version(OPENSSL_VERSION),
                   sodium_version_string());
    return text;
}

void prop_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

int prop_random_secret(size_t len, struct prop_secret **ret, struct prop_err *err)
{
    int rc = prop_secret_new(len, ret, err);
    if (!rc)
        prop_random(prop_secret_bytes(*ret), len);
    return rc;
}
