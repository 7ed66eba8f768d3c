/* An index.json: its names, each of them found, one more put in, written and read again. */
#include "tests/fuzz/fuzz.h"

#include "oci/layout_index.h"
#include "util/limits.h"

#include <string.h>

const char *const fuzz_words[] = {
    "\"schemaVersion\":2", "\"mediaType\":", "\"manifests\":[", "\"digest\":\"sha256:", "\"size\":",
    "\"annotations\":{", "org.opencontainers.image.ref.name", "io.containerd.image.name",
    "\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}", "\"v1\"", "\"added\"", "-1", "null",
    "{}", "[]", NULL
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *index = NULL, *again = NULL, *names = NULL;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_descriptor d;
    struct prop_digest digest;
    size_t i;
    json_t *name;
    if (!fuzz_ok(prop_index_parse(data, len, "index.json", &index, &err), &err))
        return 0;
    names = prop_index_names(index);
    FUZZ_CHECK(json_is_array(names));
    json_array_foreach(names, i, name) {
        if (fuzz_ok(prop_index_find(index, json_string_value(name), "x", &d, &err), &err))
            FUZZ_CHECK(d.digest.len > 0);
        prop_err_clear(&err);
    }
    (void)fuzz_ok(prop_index_find(index, NULL, "x", &d, &err), &err);
    prop_err_clear(&err);
    FUZZ_CHECK(prop_digest_of(PROP_SHA256, data, len, &digest, &err) == 0);
    if (!fuzz_ok(prop_index_put(index, "added", PROP_MT_OCI_MANIFEST, &digest, len, &err), &err) ||
        !fuzz_ok(prop_index_write(index, &out, &err), &err))
        return 0;
    if (prop_index_parse(out.data, out.len, "index.json", &again, &err) != 0 ||
        prop_index_find(again, "added", "x", &d, &err) != 0)
        fuzz_fail(err.message, __FILE__, __LINE__);
    FUZZ_CHECK(prop_digest_equal(&d.digest, &digest) && d.size == len);
    return 0;
}
