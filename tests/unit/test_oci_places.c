/* Sources and destinations through their common interface: what is checked, what is left behind. */
#include "tests/unit/support.h"

#include "oci/image.h"
#include "util/limits.h"

#include <sys/stat.h>
#include <unistd.h>

static char dir[256];

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, sizeof(dir), "%s/places-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(dir) == NULL ? -1 : chdir(dir);
}

static int tear_down(void **state)
{
    (void)state;
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return chdir("/") != 0 || system(command) != 0 ? -1 : 0;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static const struct prop_oci_options options = { .n_insecure = 0 };

static struct prop_src *open_src(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_location l;
    struct prop_src *src = NULL;
    OK(prop_location_parse(text, &l, &err));
    OK(prop_src_open(&l, &options, &src, &err));
    prop_location_release(&l);
    return src;
}

static struct prop_dst *open_dst(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_location l;
    struct prop_dst *dst = NULL;
    OK(prop_location_parse(text, &l, &err));
    OK(prop_dst_open(&l, &options, &dst, &err));
    prop_location_release(&l);
    return dst;
}

static struct prop_digest digest_of(const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest d;
    OK(prop_digest_of(PROP_SHA256, text, strlen(text), &d, &err));
    return d;
}

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

/* A small image: one layer `text`, the config {}. */
static struct prop_digest put_image(struct prop_dst *dst, const char *text)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest layer = digest_of(text), config = digest_of("{}"), digest;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    OK(prop_dst_blob_put(dst, text, strlen(text), &layer, &err));
    OK(prop_dst_blob_put(dst, "{}", 2, &config, &err));
    json_t *m = prop_manifest_new_wasm(&layer, strlen(text), "t");
    OK(prop_manifest_write(m, &bytes, &err));
    json_decref(m);
    OK(prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &digest, &err));
    OK(prop_dst_manifest(dst, bytes.data, bytes.len, PROP_MT_OCI_MANIFEST, &digest, &err));
    return digest;
}

static void check_image(const char *place, const char *text, const struct prop_digest *want)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_buf struct prop_buf layer = PROP_BUF_INIT(4096);
    prop_auto_manifest struct prop_manifest m = { 0 };
    prop_auto_free char *type = NULL;
    struct prop_digest digest;
    struct prop_src *src = open_src(place);
    assert_false(prop_src_is_bare(src));
    OK(prop_src_manifest(src, &bytes, &type, &digest, &err));
    assert_true(prop_digest_equal(&digest, want));
    assert_string_equal(type, PROP_MT_OCI_MANIFEST);
    OK(prop_manifest_parse(bytes.data, bytes.len, type, "it", &m, &err));
    OK(prop_src_blob(src, &m.layers[0], collect, &layer, &err));
    assert_string_equal(prop_buf_str(&layer), text);
    prop_src_free(src);
}

static void test_round_trips(void **state)
{
    (void)state;
    static const char *const places[] = { "oci:a/b/layout:v1", "dir:a/flat", "oci-archive:a/x.tar:v1" };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(places); i++) {
        struct prop_dst *dst = open_dst(places[i]);
        struct prop_digest now, first;
        bool there = true;
        FAILS(prop_dst_current(dst, &now, &err), PROP_E_NOTFOUND, "image-not-found");
        first = digest_of("one");
        OK(prop_dst_has_blob(dst, &first, 3, &there, &err));
        assert_false(there);
        first = put_image(dst, "one");
        struct prop_digest layer = digest_of("one");
        OK(prop_dst_has_blob(dst, &layer, 3, &there, &err));
        assert_true(there);
        OK(prop_dst_tag(dst, &err));
        prop_dst_free(dst);
        check_image(places[i], "one", &first);
        dst = open_dst(places[i]);
        OK(prop_dst_current(dst, &now, &err));
        assert_true(prop_digest_equal(&now, &first));
        struct prop_digest second = put_image(dst, "two");
        check_image(places[i], "one", &first); /* still */
        OK(prop_dst_tag(dst, &err));
        prop_dst_free(dst);
        check_image(places[i], "two", &second);
    }
}

/* Released without a tag: no folder, no file, whatever had been written. */
static void test_nothing_left(void **state)
{
    (void)state;
    static const char *const places[] = { "oci:gone:v1", "dir:gone", "oci-archive:gone:v1" };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(places); i++) {
        for (size_t stage = 0; stage < 4; stage++) {
            struct prop_dst *dst = open_dst(places[i]);
            struct prop_dst_blob *b = NULL;
            if (stage >= 1) {
                OK(prop_dst_blob_begin(dst, stage == 1 ? 100 : UINT64_MAX, &b, &err));
                OK(prop_dst_blob_write(b, "abc", 3, &err));
                prop_dst_blob_abort(b);
            }
            if (stage >= 2)
                (void)put_image(dst, "one");
            if (stage >= 3)
                (void)put_image(dst, "two");
            prop_dst_free(dst);
            assert_false(exists("gone"));
        }
    }
    char command[64] = "ls -A | grep -q gone";
    assert_int_not_equal(system(command), 0);
}

static void test_misuse(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_dst *dst = open_dst("oci:misuse:v1");
    struct prop_dst_blob *b = NULL;
    struct prop_digest d = digest_of("abc");
    assert_int_equal(prop_dst_tag(dst, &err), PROP_E_BUG);
    OK(prop_dst_blob_begin(dst, 2, &b, &err));
    assert_int_equal(prop_dst_blob_write(b, "abc", 3, &err), PROP_E_BUG);
    OK(prop_dst_blob_write(b, "", 0, &err));
    assert_int_equal(prop_dst_blob_finish(b, &d, &err), PROP_E_BUG);
    prop_dst_blob_abort(NULL);
    prop_dst_free(dst);
    prop_dst_free(NULL);
    prop_src_free(NULL);
}

/* A blob that somebody cut short is written anew; a good one is left alone. */
static void test_damaged_blob_is_replaced(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_dst *dst = open_dst("oci:damaged:v1");
    struct prop_digest digest = put_image(dst, "layer"), layer = digest_of("layer");
    char hex[PROP_DIGEST_TEXT], path[300];
    struct stat before, after;
    OK(prop_dst_tag(dst, &err));
    prop_dst_free(dst);
    (void)snprintf(path, sizeof(path), "damaged/blobs/sha256/%s", prop_digest_hex(&layer, hex));
    assert_int_equal(truncate(path, 2), 0);
    dst = open_dst("oci:damaged:v1");
    (void)put_image(dst, "layer");
    OK(prop_dst_tag(dst, &err));
    prop_dst_free(dst);
    check_image("oci:damaged:v1", "layer", &digest);
    assert_int_equal(stat(path, &before), 0);
    dst = open_dst("oci:damaged:v1");
    struct prop_dst_blob *b = NULL;
    OK(prop_dst_blob_begin(dst, UINT64_MAX, &b, &err));
    OK(prop_dst_blob_write(b, "layer", 5, &err));
    OK(prop_dst_blob_finish(b, &layer, &err));
    prop_dst_free(dst);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino);
}

static void test_bare(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(100);
    OK(prop_file_write("m.wasm", "\0asm\1\0\0\0", 8, 0600, false, &err));
    struct prop_src *src = open_src("./m.wasm");
    assert_true(prop_src_is_bare(src));
    assert_string_equal(prop_src_bare_title(src), "m.wasm");
    FAILS(prop_src_manifest(src, &out, NULL, NULL, &err), PROP_E_UNSUPPORTED, "bare-module");
    OK(prop_src_bare_read(src, collect, &out, &err));
    assert_int_equal(out.len, 8);
    assert_int_equal(prop_src_bare_size(src), 8);
    /* a promise was made: now the file must keep its length */
    OK(prop_file_write("m.wasm", "\0asm\1\0\0\0x", 9, 0600, true, &err));
    FAILS(prop_src_bare_read(src, collect, &out, &err), PROP_E_IO, "source-changed");
    OK(prop_file_write("m.wasm", "\0asm\1\0\0", 7, 0600, true, &err));
    FAILS(prop_src_bare_read(src, collect, &out, &err), PROP_E_IO, "source-changed");
    OK(prop_src_set_title(src, "other", &err));
    assert_string_equal(prop_src_bare_title(src), "other");
    struct prop_digest d = digest_of("x");
    assert_int_equal(prop_src_expect(src, &d, &err), PROP_E_USAGE);
    prop_src_free(src);
}

static void test_sink(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest digest, want, now;
    OK(prop_file_write("addition.wasm", "\0asm\1\0\0\0", 8, 0600, true, &err));
    struct prop_src *src = open_src("addition.wasm");
    struct prop_dst *dst = open_dst("sink:");
    OK(prop_image_copy(src, dst, &digest, &err));
    FAILS(prop_dst_current(dst, &now, &err), PROP_E_NOTFOUND, "image-not-found");
    prop_dst_free(dst);
    prop_src_free(src);
    src = open_src("addition.wasm");
    dst = open_dst("oci:real:v1");
    OK(prop_image_copy(src, dst, &want, &err));
    prop_dst_free(dst);
    prop_src_free(src);
    assert_true(prop_digest_equal(&digest, &want));
}

static void test_expected_digest(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_digest other = digest_of("other");
    struct prop_dst *dst = open_dst("dir:pinned");
    struct prop_digest digest = put_image(dst, "x");
    OK(prop_dst_tag(dst, &err));
    prop_dst_free(dst);
    struct prop_src *src = open_src("dir:pinned");
    OK(prop_src_expect(src, &digest, &err));
    OK(prop_src_manifest(src, &out, NULL, NULL, &err));
    OK(prop_src_expect(src, &other, &err));
    FAILS(prop_src_manifest(src, &out, NULL, NULL, &err), PROP_E_VERIFY, "digest-mismatch");
    prop_src_free(src);
}

static int refuse(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    (void)ctx;
    (void)data;
    (void)len;
    return prop_err_set_id(err, PROP_E_IO, "mine", "no room");
}

static void test_blob_refusals(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(100);
    struct prop_dst *dst = open_dst("oci:refuse:v1");
    (void)put_image(dst, "layer");
    OK(prop_dst_tag(dst, &err));
    prop_dst_free(dst);
    struct prop_src *src = open_src("oci:refuse:v1");
    struct prop_descriptor d = { "t/x", digest_of("layer"), 5, NULL };
    OK(prop_src_blob(src, &d, collect, &out, &err));
    FAILS(prop_src_blob(src, &d, refuse, NULL, &err), PROP_E_IO, "mine");
    d.size = 4;
    FAILS(prop_src_blob(src, &d, collect, &out, &err), PROP_E_VERIFY, "size-mismatch");
    d.size = 6;
    FAILS(prop_src_blob(src, &d, collect, &out, &err), PROP_E_VERIFY, "blob-truncated");
    d.size = 5;
    d.digest = digest_of("absent");
    FAILS(prop_src_blob(src, &d, collect, &out, &err), PROP_E_NOTFOUND, "blob-not-found");
    prop_src_free(src);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_misuse),      cmocka_unit_test(test_damaged_blob_is_replaced),
        cmocka_unit_test(test_bare),        cmocka_unit_test(test_sink),
        cmocka_unit_test(test_expected_digest), cmocka_unit_test(test_blob_refusals),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
