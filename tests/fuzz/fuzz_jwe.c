/* JWE in all its forms: described, and decrypted with an EC and an RSA key. */
#include "tests/fuzz/fuzz.h"

#include "jose/jwe.h"

const char *const fuzz_words[] = {
    "\"protected\":", "\"unprotected\":", "\"header\":", "\"recipients\":[", "\"encrypted_key\":",
    "\"iv\":", "\"ciphertext\":", "\"tag\":", "\"aad\":", "\"alg\":\"ECDH-ES+A256KW\"",
    "\"alg\":\"RSA-OAEP\"", "\"enc\":\"A256GCM\"", "\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\"",
    "\"kid\":\"a\"", "\"crit\":[\"x\"]", "\"zip\":\"DEF\"", "\"apu\":\"YQ\"", "\"apv\":\"YQ\"", ".",
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0", "eyJlbmMiOiJBMjU2R0NNIn0", "{}", "null", NULL
};

static void decrypt(const char *text, size_t len, const struct prop_pkey *key)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *plain = NULL;
    if (!fuzz_ok(prop_jwe_decrypt(text, len, key, &plain, &err), &err))
        FUZZ_CHECK(!plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct prop_pkey *ec, *rsa;
    static unsigned turn;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *about = NULL;
    if (!ec) {
        ec = fuzz_key("ocicrypt/keys/ec.pem");
        rsa = fuzz_key("ocicrypt/keys/rsa.pem");
    }
    if (!fuzz_ok(prop_jwe_describe((const char *)data, len, &about, &err), &err))
        FUZZ_CHECK(!about);
    decrypt((const char *)data, len, ec);
    if (turn++ % 8 == 0) /* a private RSA operation is a hundred times slower */
        decrypt((const char *)data, len, rsa);
    return 0;
}
