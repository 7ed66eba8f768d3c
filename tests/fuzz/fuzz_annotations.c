/* A whole layer descriptor with its annotations: described without a key, and unwrapped with the
 * keys of the fixtures. What opens must be private options. */
#include "tests/fuzz/fuzz.h"

#include "ocicrypt/options.h"
#include "ocicrypt/recipient.h"
#include "util/json.h"
#include "util/limits.h"

const char *const fuzz_words[] = {
    "org.opencontainers.image.enc.pubopts", "org.opencontainers.image.enc.keys.jwe",
    "org.opencontainers.image.enc.keys.pkcs7", "org.opencontainers.image.enc.keys.pgp",
    "org.opencontainers.image.enc.keys.pkcs11",
    "org.opencontainers.image.enc.keys.provider.attestation-agent",
    "org.opencontainers.image.enc.keys.provider.x", "org.opencontainers.image.title",
    "\"annotations\":", "\"mediaType\":", "+encrypted", "\"digest\":", "\"size\":", "\"data\":",
    "sha256:", "eyJraWQiOiJrYnM6Ly8v", ",", "e30=", "bnVsbA==", "null", NULL
};

static struct prop_openers *keys_of_the_fixtures(void)
{
    static const char *const names[] = { "ec.pem", "ec2.pem", "rsa.pem" };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_openers *o = NULL;
    prop_auto_secret struct prop_secret *kek = fuzz_secret("ocicrypt/keys/kek32.bin");
    FUZZ_CHECK(prop_openers_new(&o, &err) == 0 && prop_openers_add_kek(o, kek, &err) == 0);
    prop_openers_allow_a256ctr(o, true);
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        prop_auto_free char *from = prop_asprintf("ocicrypt/keys/%s", names[i]);
        prop_auto_free char *path = prop_asprintf("%s/%s", fuzz_folder(), names[i]);
        FUZZ_CHECK(from && path);
        prop_auto_secret struct prop_secret *pem = fuzz_secret(from);
        fuzz_put(names[i], prop_secret_data(pem), prop_secret_len(pem));
        if (prop_openers_add(o, path, &err) != 0)
            fuzz_fail(err.message, path, 0);
    }
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct prop_openers *openers;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *json = NULL, *about = NULL;
    prop_auto_secret struct prop_secret *privopts = NULL;
    prop_auto_free char *pubopts = NULL;
    struct prop_descriptor layer;
    struct prop_layer_options options;
    if (!openers)
        openers = keys_of_the_fixtures();
    if (prop_json_parse((const char *)data, len, "the layer", &json, &err) != 0 ||
        !fuzz_ok(prop_descriptor_read(json, "the layer", &layer, &err), &err))
        return 0;
    if (fuzz_ok(prop_layer_describe(&layer, &about, &err), &err))
        FUZZ_CHECK(json_is_object(about));
    prop_err_clear(&err);
    if (!fuzz_ok(prop_openers_unwrap(openers, &layer, &privopts, &pubopts, &err), &err)) {
        FUZZ_CHECK(!privopts && !pubopts);
        return 0;
    }
    if (fuzz_ok(prop_layer_options_read(pubopts, privopts, &options, &err), &err))
        prop_layer_options_release(&options);
    return 0;
}
