/* Shared by the ocicrypt unit tests: the fixtures of tests/vectors/ocicrypt, read straight from
 * their layouts, and keys copied to private files. */
#ifndef TEST_OCICRYPT_H
#define TEST_OCICRYPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ocicrypt/annot.h"
#include "ocicrypt/layer.h"
#include "ocicrypt/recipient.h"
#include "oci/manifest.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/json.h"
#include "util/mem.h"

#define FIXTURES "tests/vectors/ocicrypt/"
#define WASM_SHA "sha256:f61fd62f57c41269c3c23f360eeaf1090b1db9c38651106674d48bc65dba88ba"

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ != 0)                                                                              \
            fail_msg("%s: %d %s", #call, rc_, err.message);                                        \
    } while (0)
#define assert_id(call, code_, id_)                                                                \
    do {                                                                                           \
        prop_err_clear(&err);                                                                      \
        int rc_ = (call);                                                                          \
        if (rc_ != (code_) || strcmp(prop_err_id(&err), (id_)) != 0)                               \
            fail_msg("%s: %d %s '%s', wanted %d %s", #call, rc_, prop_err_id(&err), err.message,   \
                     (int)(code_), (id_));                                                         \
    } while (0)

/* A sink that keeps everything. */
static inline int keep(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static inline void read_file(const char *path, struct prop_buf *out)
{
    struct prop_err err = PROP_ERR_INIT;
    assert_ok(prop_file_read(path, out, &err));
}

/* A fixture key as a file only we can read; the name is static. */
static inline const char *private_key(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(65536);
    char from[256];
    snprintf(from, sizeof(from), FIXTURES "keys/%s", name);
    read_file(from, &text);
    snprintf(path, sizeof(paths[0]), "%s/prop-test-%d-%s",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid(), name);
    assert_ok(prop_file_write(path, text.data, text.len, 0600, true, &err));
    return path;
}

static inline void forget_key(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

/* Openers with one key file of the fixtures, by `--key`'s way in. */
static inline struct prop_openers *opener(const char *key)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_openers *o = NULL;
    const char *path = private_key(key);
    assert_ok(prop_openers_new(&o, &err));
    assert_ok(prop_openers_add(o, path, &err));
    forget_key(path);
    return o;
}

/* The only manifest of a layout folder. */
static inline void load_manifest(const char *layout, struct prop_manifest *ret)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *index = NULL;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(1u << 20);
    char path[512];
    snprintf(path, sizeof(path), "%s/index.json", layout);
    assert_ok(prop_json_parse_file(path, 1u << 20, &index, &err));
    const char *digest = json_string_value(
        json_object_get(json_array_get(json_object_get(index, "manifests"), 0), "digest"));
    assert_non_null(digest);
    snprintf(path, sizeof(path), "%s/blobs/sha256/%s", layout, digest + 7);
    read_file(path, &bytes);
    assert_ok(prop_manifest_parse(bytes.data, bytes.len, NULL, "manifest", ret, &err));
}

static inline void load_blob(const char *layout, const struct prop_digest *digest,
                             struct prop_buf *out)
{
    char path[512], hex[PROP_DIGEST_TEXT];
    snprintf(path, sizeof(path), "%s/blobs/sha256/%s", layout, prop_digest_hex(digest, hex));
    read_file(path, out);
}

/* Unwrap and decrypt one layer whose ciphertext is in memory. */
static inline int decrypt_layer(struct prop_openers *o, const struct prop_descriptor *layer,
                                const struct prop_buf *blob, struct prop_buf *out,
                                struct prop_digest *ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *privopts = NULL;
    prop_auto_free char *pubopts = NULL;
    struct prop_layer_dec *dec = NULL;
    struct prop_digest plain = { .len = 0 }, stated = { .len = 0 };
    int rc = prop_openers_unwrap(o, layer, &privopts, &pubopts, err);
    if (rc == 0)
        rc = prop_layer_dec_new(pubopts, privopts, keep, out, &dec, err);
    if (rc == 0)
        rc = prop_layer_dec_update(dec, blob->data, blob->len, err);
    if (rc == 0)
        rc = prop_layer_dec_final(dec, &plain, &stated, err);
    if (rc == 0)
        rc = prop_layer_check_stated(layer, &plain, &stated, err);
    if (rc == 0)
        *ret = plain;
    prop_layer_dec_free(dec);
    return rc;
}

#endif
