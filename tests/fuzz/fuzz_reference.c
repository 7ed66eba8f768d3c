/* References, SRC and DST as typed, digests and key-broker resource ids: what parses is written
 * and parses to the same again. */
#include "tests/fuzz/fuzz.h"

#include "keys/resource_id.h"
#include "oci/ref.h"

#include <string.h>

const char *const fuzz_words[] = {
    "docker://", "oci:", "oci-archive:", "dir:", "sink:", "kbs:///", "kbs://", "localhost:5000/",
    "127.0.0.1:5000/", "[::1]:5000/", "docker.io/library/", ":latest", "@sha256:",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "..", "//", "%2e", "?q", "#f",
    ".wasm", "-", "_", "__", NULL
};

static void reference(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_ref a = { .domain = NULL }, b = { .domain = NULL };
    if (!fuzz_ok(prop_ref_parse(text, &a, &err), &err))
        return;
    prop_auto_free char *full = prop_ref_format(&a);
    FUZZ_CHECK(full && a.domain && a.path && (a.tag || a.digest.len));
    if (prop_ref_parse(full, &b, &err) != 0)
        fuzz_fail(err.message, __FILE__, __LINE__);
    FUZZ_CHECK(strcmp(a.domain, b.domain) == 0 && strcmp(a.path, b.path) == 0);
    FUZZ_CHECK((a.tag && b.tag) ? strcmp(a.tag, b.tag) == 0 : a.tag == b.tag);
    FUZZ_CHECK(a.digest.len == b.digest.len &&
               (!a.digest.len || prop_digest_equal(&a.digest, &b.digest)));
    prop_ref_release(&a);
    prop_ref_release(&b);
}

static void resource(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_resource_id a, b;
    if (!fuzz_ok(prop_resource_id_parse(text, true, &a, &err), &err))
        return;
    prop_auto_free char *uri = prop_resource_id_uri(&a);
    FUZZ_CHECK(uri);
    if (prop_resource_id_parse(uri, false, &b, &err) != 0)
        fuzz_fail(err.message, __FILE__, __LINE__);
    FUZZ_CHECK(prop_resource_id_same(&a, &b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_location where = { .path = NULL };
    struct prop_digest digest;
    prop_auto_free char *text = fuzz_text(data, len);
    char written[PROP_DIGEST_TEXT];
    reference(text);
    if (fuzz_ok(prop_location_parse(text, &where, &err), &err))
        prop_location_release(&where);
    prop_err_clear(&err);
    if (fuzz_ok(prop_digest_parse(text, &digest, &err), &err))
        FUZZ_CHECK(strcmp(prop_digest_format(&digest, written), text) == 0);
    prop_err_clear(&err);
    resource(text);
    return 0;
}
