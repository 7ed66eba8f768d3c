/* An oci-archive file: opened as a source, its manifest and every blob read. */
#include "tests/fuzz/fuzz.h"

#include "oci/image.h"
#include "util/limits.h"

const char *const fuzz_words[] = {
    "oci-layout", "index.json", "blobs/sha256/", "../", "/etc/", "ustar", "0000644", "0000000",
    "\"manifests\":[", "\"size\":", "./", "x", "2", "5", "L", "g", "77777777777", NULL
};

static int count(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    uint64_t *n = ctx;
    (void)data;
    (void)err;
    *n += len;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_location where = { .path = NULL };
    struct prop_oci_options options = { .authfile = NULL };
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_free char *type = NULL;
    fuzz_put("image.tar", data, len);
    prop_auto_free char *text = prop_asprintf("oci-archive:%s/image.tar", fuzz_folder());
    FUZZ_CHECK(text && prop_location_parse(text, &where, &err) == 0);
    int rc = prop_src_open(&where, &options, &src, &err);
    prop_location_release(&where);
    if (!fuzz_ok(rc, &err) ||
        !fuzz_ok(prop_src_manifest(src, &bytes, &type, NULL, &err), &err) ||
        !fuzz_ok(prop_manifest_parse(bytes.data, bytes.len, type, "it", &m, &err), &err))
        return 0;
    for (size_t i = 0; i < m.n_layers && i < 4; i++) {
        uint64_t n = 0;
        if (fuzz_ok(prop_src_blob(src, &m.layers[i], count, &n, &err), &err))
            FUZZ_CHECK(n == m.layers[i].size);
        prop_err_clear(&err);
    }
    return 0;
}
