/* The attestation agent's packet: parsed, opened with a KEK, and its kid taken apart. */
#include "tests/fuzz/fuzz.h"

#include "keys/resource_id.h"
#include "ocicrypt/options.h"
#include "ocicrypt/packet.h"

const char *const fuzz_words[] = {
    "\"kid\":", "\"wrapped_data\":", "\"iv\":", "\"wrap_type\":", "\"A256GCM\"", "\"A256CTR\"",
    "\"version\":\"0.1.0\"", "\"provider\":\"kbs\"", "\"provider_settings\":{}",
    "\"annotations\":{}", "kbs:///", "kbs+resource://", "/default/key/", "\"\"", "null", "{}", "[]",
    "AAAAAAAAAAAAAAAA", "==", "\\u0000", NULL
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct prop_secret *kek;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    prop_auto_secret struct prop_secret *privopts = NULL;
    if (!kek)
        kek = fuzz_secret("ocicrypt/keys/kek32.bin");
    if (!fuzz_ok(prop_packet_parse(data, len, &p, &err), &err))
        return 0;
    FUZZ_CHECK(p.kid && p.wrap_type && p.iv.len == (p.has_tag ? 12u : 16u));
    if (fuzz_ok(prop_packet_open(&p, kek, &privopts, &err), &err))
        FUZZ_CHECK(prop_layer_privopts_check(privopts, &err) == 0);
    else
        FUZZ_CHECK(!privopts);
    return 0;
}
