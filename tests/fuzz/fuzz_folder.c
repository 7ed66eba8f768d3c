/* dir: and oci: folders. The input is up to three texts with a 0 byte between them: manifest.json or
 * index.json, version or oci-layout, and a blob, which is stored under its true digest. */
#include "tests/fuzz/fuzz.h"

#include "oci/image.h"
#include "util/limits.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const char *const fuzz_words[] = {
    "Directory Transport Version: 1.1\n", "{\"imageLayoutVersion\":\"1.0.0\"}", "\"schemaVersion\":2",
    "\"mediaType\":", "\"config\":", "\"layers\":[", "\"manifests\":[", "\"digest\":\"sha256:",
    "\"digest\":\"sha512:", "\"size\":", "../", "null", "{}", "[]", NULL
};

static int count(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    uint64_t *n = ctx;
    (void)data;
    (void)err;
    *n += len;
    return 0;
}

static void read_image(const char *transport)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_location where = { .path = NULL };
    struct prop_oci_options options = { .authfile = NULL };
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_free char *type = NULL;
    prop_auto_free char *text = prop_asprintf("%s:%s", transport, fuzz_folder());
    FUZZ_CHECK(text && prop_location_parse(text, &where, &err) == 0);
    int rc = prop_src_open(&where, &options, &src, &err);
    prop_location_release(&where);
    if (!fuzz_ok(rc, &err) ||
        !fuzz_ok(prop_src_manifest(src, &bytes, &type, NULL, &err), &err) ||
        !fuzz_ok(prop_manifest_parse(bytes.data, bytes.len, type, "it", &m, &err), &err))
        return;
    for (size_t i = 0; i < m.n_layers && i < 4; i++) {
        uint64_t n = 0;
        if (fuzz_ok(prop_src_blob(src, &m.layers[i], count, &n, &err), &err))
            FUZZ_CHECK(n == m.layers[i].size);
        prop_err_clear(&err);
    }
}

/* One part of the input; the rest moves on. */
static const uint8_t *part(const uint8_t **data, size_t *len, size_t *ret_len)
{
    const uint8_t *begin = *data, *zero = *len ? memchr(begin, 0, *len) : NULL;
    *ret_len = zero ? (size_t)(zero - begin) : *len;
    *data += zero ? *ret_len + 1 : *ret_len;
    *len -= zero ? *ret_len + 1 : *ret_len;
    return begin;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static unsigned made;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest digest;
    char hex[PROP_DIGEST_TEXT], name[PROP_DIGEST_TEXT + 16];
    size_t n_manifest, n_version;
    const uint8_t *manifest = part(&data, &len, &n_manifest);
    const uint8_t *version = part(&data, &len, &n_version);
    if (made++ == 0) {
        prop_auto_free char *a = prop_asprintf("%s/blobs", fuzz_folder());
        prop_auto_free char *b = prop_asprintf("%s/blobs/sha256", fuzz_folder());
        FUZZ_CHECK(a && b && mkdir(a, 0700) == 0 && mkdir(b, 0700) == 0);
    }
    fuzz_put("manifest.json", manifest, n_manifest);
    fuzz_put("version", version, n_version);
    fuzz_put("index.json", manifest, n_manifest);
    fuzz_put("oci-layout", version, n_version);
    FUZZ_CHECK(prop_digest_of(PROP_SHA256, data, len, &digest, &err) == 0);
    (void)prop_digest_hex(&digest, hex);
    fuzz_put(hex, data, len);
    (void)snprintf(name, sizeof name, "blobs/sha256/%s", hex);
    fuzz_put(name, data, len);
    read_image("dir");
    read_image("oci");
    if (len) { /* thousands of blobs would fill the folder; the empty one is always there */
        prop_auto_free char *a = prop_asprintf("%s/%s", fuzz_folder(), hex);
        prop_auto_free char *b = prop_asprintf("%s/%s", fuzz_folder(), name);
        FUZZ_CHECK(a && b && remove(a) == 0 && remove(b) == 0);
    }
    return 0;
}
