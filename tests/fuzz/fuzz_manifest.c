/* An image manifest: read, written in Go's order, and read again. What was written must be the same
 * image, and writing it once more must give the same bytes. */
#include "tests/fuzz/fuzz.h"

#include "oci/manifest.h"
#include "util/limits.h"

#include <string.h>

const char *const fuzz_words[] = {
    "\"schemaVersion\":2", "\"mediaType\":", "\"config\":", "\"layers\":[", "\"manifests\":[",
    "\"digest\":\"sha256:", "\"size\":", "-1", "9223372036854775807", "1e3", "\"annotations\":{",
    "\"urls\":[", "\"data\":\"\"", "\"artifactType\":", "\"subject\":", "\"platform\":{",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json", "+encrypted", "\\u003c", "\\ud800",
    "null", "{}", "[]", NULL
};

static void same(const struct prop_manifest *a, const struct prop_manifest *b)
{
    FUZZ_CHECK(a->n_layers == b->n_layers);
    FUZZ_CHECK(prop_digest_equal(&a->config.digest, &b->config.digest));
    for (size_t i = 0; i < a->n_layers; i++) {
        FUZZ_CHECK(prop_digest_equal(&a->layers[i].digest, &b->layers[i].digest));
        FUZZ_CHECK(a->layers[i].size == b->layers[i].size);
        FUZZ_CHECK(strcmp(a->layers[i].media_type, b->layers[i].media_type) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_manifest struct prop_manifest m = { .json = NULL }, again = { .json = NULL };
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_buf struct prop_buf twice = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    if (fuzz_ok(prop_manifest_type(data, len, NULL, "the manifest", &type, &err), &err))
        FUZZ_CHECK(type);
    prop_err_clear(&err);
    if (!fuzz_ok(prop_manifest_parse(data, len, NULL, "the manifest", &m, &err), &err))
        return 0;
    if (!fuzz_ok(prop_manifest_write(m.json, &out, &err), &err))
        return 0;
    if (prop_manifest_parse(out.data, out.len, NULL, "what was written", &again, &err) != 0)
        fuzz_fail(err.message, __FILE__, __LINE__);
    same(&m, &again);
    FUZZ_CHECK(prop_manifest_write(again.json, &twice, &err) == 0);
    FUZZ_CHECK(twice.len == out.len && memcmp(twice.data, out.data, out.len) == 0);
    return 0;
}
