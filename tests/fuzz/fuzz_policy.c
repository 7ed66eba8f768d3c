/* Policy documents in JSON (TOML is the engine's to read): parsed, built to Rego, written back. A
 * document that was taken is written as it came. */
#include "tests/fuzz/fuzz.h"

#include "policy/document.h"
#include "util/limits.h"

#include <string.h>

const char *const fuzz_words[] = {
    "\"version\":1", "\"rule\":[", "\"resource\":", "\"tee\":\"snp\"", "\"tee\":\"tdx\"",
    "\"tee\":\"sample\"", "\"tier\":\"affirming\"", "\"measurement\":[\"sha384:", "\"min_tcb\":{",
    "\"init_data\":", "\"debug\":", "\"*\"", "\"default/key/x\"", "\\u0000", "\\n", "\\\"", "null",
    "{}", "[]", "-1", "1e400", NULL
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_policy_doc struct prop_policy_doc *doc = NULL;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    prop_auto_buf struct prop_buf rego = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    if (len == 0 || data[0] != '{')
        return 0;
    if (!fuzz_ok(prop_policy_doc_parse((const char *)data, len, "policy.json", &doc, &err), &err)) {
        FUZZ_CHECK(!doc);
        return 0;
    }
    if (fuzz_ok(prop_policy_doc_write(doc, &out, &err), &err))
        FUZZ_CHECK(out.len == len && memcmp(out.data, data, len) == 0);
    FUZZ_CHECK(json_is_array(prop_policy_doc_rules(doc)));
    prop_err_clear(&err);
    if (fuzz_ok(prop_policy_build(doc, &rego, &err), &err))
        FUZZ_CHECK(rego.len > 0);
    return 0;
}
