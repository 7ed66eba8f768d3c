/* Init-data documents: what is taken has one digest, and its two cuts. */
#include "tests/fuzz/fuzz.h"

#include "tee/initdata.h"

#include <string.h>

const char *const fuzz_words[] = {
    "version", "algorithm", "\"0.1.0\"", "\"sha384\"", "[data]", " = ", "'''", "\"\"\"", "\\u00e9", "#",
    "\n", "\r\n", "\"aa.toml\"", NULL
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_initdata d;
    prop_auto_free char *copy = fuzz_text(data, len);
    if (fuzz_ok(prop_initdata_read(copy, len, "init-data", &d, &err), &err)) {
        FUZZ_CHECK(d.digest.len >= PROP_SNP_HOST_DATA);
        FUZZ_CHECK(memcmp(d.digest.bytes, d.host_data, PROP_SNP_HOST_DATA) == 0);
        FUZZ_CHECK(memcmp(d.mr_config_id, d.host_data, PROP_SNP_HOST_DATA) == 0);
    }
    return 0;
}
