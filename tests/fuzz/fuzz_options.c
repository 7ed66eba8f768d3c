/* Public and private options: the input is both texts, with a line between them. */
#include "tests/fuzz/fuzz.h"

#include "ocicrypt/options.h"

#include <string.h>

const char *const fuzz_words[] = {
    "\"cipher\":", "\"AES_256_CTR_HMAC_SHA256\"", "\"hmac\":", "\"cipheroptions\":", "\"nonce\":",
    "\"symkey\":", "\"digest\":", "\"sha256:", "\"sha512:", "{}", "null", "\n", "AAAA", "==", NULL
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *privopts = NULL;
    struct prop_layer_options o;
    const uint8_t *line = memchr(data, '\n', len);
    size_t n = line ? (size_t)(line - data) : len;
    prop_auto_free char *pubopts = fuzz_text(data, n);
    FUZZ_CHECK(prop_secret_copy(line ? line + 1 : data, line ? len - n - 1 : 0, &privopts, &err) == 0);
    if (fuzz_ok(prop_layer_options_read(pubopts, privopts, &o, &err), &err)) {
        FUZZ_CHECK(prop_secret_len(o.key) == PROP_LAYER_KEY);
        prop_layer_options_release(&o);
    }
    return 0;
}
