/* Manifests: real ones come out byte for byte as they went in, damaged ones are refused. */
#include "tests/unit/support.h"

#include "oci/layout_index.h"
#include "oci/manifest.h"
#include "util/limits.h"

#include <dirent.h>
#include <unistd.h>

#define D "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define DESC "{\"mediaType\":\"t/x\",\"digest\":\"" D "\",\"size\":2}"
#define GOOD "{\"schemaVersion\":2,\"config\":" DESC ",\"layers\":[" DESC "]}"

/* The one manifest of a fixture's layout. */
static void read_manifest(const char *layout, struct prop_buf *out)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *index = NULL;
    struct prop_descriptor d;
    OK(prop_layout_load(layout, &index, &err));
    OK(prop_index_find(index, NULL, layout, &d, &err));
    char *path = prop_layout_blob_path(layout, &d.digest);
    OK(prop_file_read(path, out, &err));
    prop_free(path);
    json_decref(index);
}

/* These were made by hand or by the Rust library, which order members otherwise. */
static bool written_by_go(const char *name)
{
    static const char *const others[] = { "03-", "32-", "36-", "43-", "44-" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(others); i++) {
        if (strncmp(name, others[i], 3) == 0)
            return false;
    }
    return true;
}

/* Every fixture that Go tools wrote: parse and write give the same bytes. */
static void test_fixtures(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char root[512], layout[1024];
    size_t seen = 0;
    DIR *d = opendir(vector_path("ocicrypt", root));
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        (void)snprintf(layout, sizeof(layout), "%s/%s/layout", root, e->d_name);
        char version[1100];
        (void)snprintf(version, sizeof(version), "%s/oci-layout", layout);
        if (e->d_name[0] == '.' || access(version, R_OK) != 0)
            continue;
        prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
        prop_auto_buf struct prop_buf again = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
        prop_auto_manifest struct prop_manifest m = { 0 };
        read_manifest(layout, &bytes);
        OK(prop_manifest_parse(bytes.data, bytes.len, NULL, e->d_name, &m, &err));
        assert_true(m.n_layers >= 1);
        OK(prop_manifest_write(m.json, &again, &err));
        if (!written_by_go(e->d_name))
            continue;
        if (again.len != bytes.len || memcmp(again.data, bytes.data, bytes.len) != 0)
            print_error("%s:\n%s\n%s\n", e->d_name, prop_buf_str(&bytes), prop_buf_str(&again));
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        seen++;
    }
    (void)closedir(d);
    assert_true(seen >= 20);
}

static void test_wasm_manifest(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char path[512], text[PROP_DIGEST_TEXT];
    prop_auto_buf struct prop_buf want = PROP_BUF_INIT(4096);
    prop_auto_buf struct prop_buf got = PROP_BUF_INIT(4096);
    prop_auto_manifest struct prop_manifest m = { 0 };
    struct prop_digest digest;
    read_manifest(vector_path("ocicrypt/01-plain-wasm-to-oci/layout", path), &want);
    OK(prop_manifest_parse(want.data, want.len, NULL, "fixture", &m, &err));
    json_t *made = prop_manifest_new_wasm(&m.layers[0].digest, m.layers[0].size, "addition.wasm");
    assert_non_null(made);
    OK(prop_manifest_write(made, &got, &err));
    json_decref(made);
    assert_int_equal(got.len, 400);
    assert_memory_equal(got.data, want.data, want.len);
    OK(prop_digest_of(PROP_SHA256, got.data, got.len, &digest, &err));
    assert_string_equal(prop_digest_format(&digest, text),
                        "sha256:dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039");
    assert_string_equal(prop_descriptor_annotation(&m.layers[0], PROP_ANNOTATION_TITLE),
                        "addition.wasm");
    assert_null(prop_descriptor_annotation(&m.layers[0], "other"));
    OK(prop_wasm_config_digest(&digest, &err));
    assert_string_equal(prop_digest_format(&digest, text), D);
}

static void test_order_and_escapes(void **state)
{
    (void)state;
    static const char in[] =
        "{\"annotations\":{\"b\":\"<&>\",\"a\":\"\\u2028\\u2029\\n\\t\\u0001\\\"\\\\é\"},\"x\":1.5,"
        "\"layers\":[{\"size\":2,\"annotations\":{\"z\":\"1\",\"B\":\"2\"},\"digest\":\"" D "\","
        "\"mediaType\":\"t/x\",\"own\":[true,false,null]}],\"config\":" DESC
        ",\"schemaVersion\":2,\"artifactType\":\"a/b\"}";
    static const char want[] =
        "{\"schemaVersion\":2,\"artifactType\":\"a/b\",\"config\":" DESC
        ",\"layers\":[{\"mediaType\":\"t/x\",\"digest\":\"" D "\",\"size\":2,"
        "\"annotations\":{\"B\":\"2\",\"z\":\"1\"},\"own\":[true,false,null]}],"
        "\"annotations\":{\"a\":\"\\u2028\\u2029\\n\\t\\u0001\\\"\\\\é\","
        "\"b\":\"\\u003c\\u0026\\u003e\"},\"x\":1.5}";
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf got = PROP_BUF_INIT(4096);
    prop_auto_manifest struct prop_manifest m = { 0 };
    OK(prop_manifest_parse(in, strlen(in), NULL, "it", &m, &err));
    OK(prop_manifest_write(m.json, &got, &err));
    assert_string_equal(prop_buf_str(&got), want);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
        int code;
        const char *id;
    } rows[] = {
        { "{\"config\":" DESC ",\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":1,\"config\":" DESC ",\"layers\":[]}", NULL, PROP_E_UNSUPPORTED, "schema1" },
        { "{\"schemaVersion\":\"2\",\"config\":" DESC ",\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":" DESC "}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":" DESC ",\"layers\":{}}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":" DESC ",\"layers\":[{}]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":" DESC ",\"layers\":[1]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"schemaVersion\":2,\"config\":" DESC ",\"layers\":[]}", NULL,
          PROP_E_INPUT, NULL },
        { GOOD "x", NULL, PROP_E_INPUT, NULL },
        { "[]", NULL, PROP_E_INPUT, NULL },
        { "", NULL, PROP_E_INPUT, NULL },
        { GOOD, PROP_MT_OCI_INDEX, PROP_E_INPUT, "media-type-mismatch" },
        { "{\"schemaVersion\":2,\"mediaType\":\"" PROP_MT_OCI_MANIFEST "\",\"config\":" DESC
          ",\"layers\":[]}", PROP_MT_DOCKER_MANIFEST, PROP_E_INPUT, "media-type-mismatch" },
        { "{\"schemaVersion\":2,\"mediaType\":\"application/x\",\"config\":" DESC
          ",\"layers\":[]}", NULL, PROP_E_UNSUPPORTED, "media-type" },
        { "{\"schemaVersion\":2,\"mediaType\":7,\"config\":" DESC ",\"layers\":[]}", NULL,
          PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"manifests\":[]}", NULL, PROP_E_UNSUPPORTED, "index" },
        { "{\"schemaVersion\":2,\"manifests\":[]}", PROP_MT_DOCKER_LIST, PROP_E_UNSUPPORTED,
          "index" },
        { "{\"schemaVersion\":2,\"manifests\":[],\"config\":" DESC ",\"layers\":[]}", NULL,
          PROP_E_INPUT, "media-type-mismatch" },
        { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"t/x\",\"digest\":\"" D
          "\",\"size\":-1},\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"t/x\",\"digest\":\"" D
          "\",\"size\":1.5},\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"\",\"digest\":\"" D
          "\",\"size\":1},\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"t/x\",\"digest\":\"sha256:00\","
          "\"size\":1},\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"t/x\",\"digest\":\"" D
          "\",\"size\":1,\"annotations\":{\"a\":1}},\"layers\":[]}", NULL, PROP_E_INPUT, NULL },
        { "{\"schemaVersion\":2,\"annotations\":[],\"config\":" DESC ",\"layers\":[]}", NULL,
          PROP_E_INPUT, NULL },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        struct prop_manifest m = { 0 };
        prop_err_clear(&err);
        int rc = prop_manifest_parse(rows[i].text, strlen(rows[i].text), rows[i].said, "it", &m,
                                     &err);
        if (rc != rows[i].code)
            print_error("%zu: %s\n  gives %d %s\n", i, rows[i].text, rc, err.message);
        assert_int_equal(rc, rows[i].code);
        if (rows[i].id != NULL)
            assert_string_equal(prop_err_id(&err), rows[i].id);
        assert_null(m.json);
    }
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said, *want;
    } rows[] = {
        { GOOD, NULL, PROP_MT_OCI_MANIFEST },
        { GOOD, PROP_MT_DOCKER_MANIFEST, PROP_MT_DOCKER_MANIFEST },
        { GOOD, PROP_MT_OCI_MANIFEST "; charset=utf-8", PROP_MT_OCI_MANIFEST },
        { GOOD, "application/json", PROP_MT_OCI_MANIFEST },
        { "{\"schemaVersion\":2,\"manifests\":[]}", NULL, PROP_MT_OCI_INDEX },
        { "{\"schemaVersion\":2,\"mediaType\":\"" PROP_MT_OCI_INDEX "\",\"manifests\":[]}",
          PROP_MT_OCI_INDEX, PROP_MT_OCI_INDEX },
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++) {
        prop_auto_free char *type = NULL;
        OK(prop_manifest_type(rows[i].text, strlen(rows[i].text), rows[i].said, "it", &type, &err));
        assert_string_equal(type, rows[i].want);
    }
}

/* Each byte of a real manifest changed: parsed or refused, never a crash, never another digest
 * taken for the old one. */
static void test_flips(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    char path[512];
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_digest digest, changed;
    read_manifest(vector_path("ocicrypt/41-wasm-jwe-rsa/layout", path), &bytes);
    OK(prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &digest, &err));
    for (size_t i = 0; i < bytes.len; i++) {
        struct prop_manifest m = { 0 };
        bytes.data[i] ^= 1;
        (void)prop_manifest_parse(bytes.data, bytes.len, NULL, "it", &m, &err);
        prop_manifest_release(&m);
        OK(prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &changed, &err));
        assert_int_equal(prop_digest_check(&changed, &digest, "it", &err), PROP_E_VERIFY);
        bytes.data[i] ^= 1;
    }
}

static void test_annotate(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest d;
    OK(prop_digest_parse(D, &d, &err));
    json_t *desc = prop_descriptor_new("t/x", &d, 2);
    OK(prop_descriptor_annotate(desc, "k", NULL, &err));
    OK(prop_descriptor_annotate(desc, "k", "v", &err));
    OK(prop_descriptor_annotate(desc, "k", "w", &err));
    struct prop_descriptor read;
    OK(prop_descriptor_read(desc, "it", &read, &err));
    assert_string_equal(prop_descriptor_annotation(&read, "k"), "w");
    OK(prop_descriptor_annotate(desc, "k", NULL, &err));
    assert_null(json_object_get(desc, "annotations"));
    assert_true(prop_descriptor_annotate(desc, "k", "\xff", &err) < 0);
    json_decref(desc);
    assert_null(prop_descriptor_new("t/x", &d, UINT64_MAX));
}

static void test_index_names(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_digest a, b;
    struct prop_descriptor d;
    json_t *index = prop_index_new();
    OK(prop_digest_of(PROP_SHA256, "a", 1, &a, &err));
    OK(prop_digest_of(PROP_SHA256, "b", 1, &b, &err));
    FAILS(prop_index_find(index, NULL, "it", &d, &err), PROP_E_NOTFOUND, "image-not-found");
    OK(prop_index_put(index, NULL, PROP_MT_OCI_MANIFEST, &a, 1, &err));
    OK(prop_index_put(index, NULL, PROP_MT_OCI_MANIFEST, &a, 1, &err));
    assert_int_equal(json_array_size(json_object_get(index, "manifests")), 1);
    OK(prop_index_put(index, "v1", PROP_MT_OCI_MANIFEST, &a, 1, &err));
    OK(prop_index_find(index, "v1", "it", &d, &err));
    assert_true(prop_digest_equal(&d.digest, &a));
    /* the name moves, the older image stays without one */
    OK(prop_index_put(index, "v1", PROP_MT_OCI_MANIFEST, &b, 2, &err));
    OK(prop_index_find(index, "v1", "it", &d, &err));
    assert_true(prop_digest_equal(&d.digest, &b));
    assert_int_equal(json_array_size(json_object_get(index, "manifests")), 2);
    FAILS(prop_index_find(index, NULL, "it", &d, &err), PROP_E_USAGE, "which-image");
    assert_non_null(strstr(err.hint, "v1"));
    FAILS(prop_index_find(index, "v2", "it", &d, &err), PROP_E_NOTFOUND, "image-not-found");
    /* by digest, with and without a name */
    char name[200], text[PROP_DIGEST_TEXT];
    (void)snprintf(name, sizeof(name), "@%s", prop_digest_format(&a, text));
    OK(prop_index_find(index, name, "it", &d, &err));
    assert_true(prop_digest_equal(&d.digest, &a));
    (void)snprintf(name, sizeof(name), "v1@%s", prop_digest_format(&a, text));
    FAILS(prop_index_find(index, name, "it", &d, &err), PROP_E_NOTFOUND, "image-not-found");
    (void)snprintf(name, sizeof(name), "v1@%s", prop_digest_format(&b, text));
    OK(prop_index_find(index, name, "it", &d, &err));
    json_t *names = prop_index_names(index);
    assert_int_equal(json_array_size(names), 1);
    json_decref(names);
    json_decref(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixtures),  cmocka_unit_test(test_wasm_manifest),
        cmocka_unit_test(test_order_and_escapes), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_types),     cmocka_unit_test(test_flips),
        cmocka_unit_test(test_annotate),  cmocka_unit_test(test_index_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
