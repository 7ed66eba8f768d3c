/* What a layer's descriptor tells without any key: for inspect, for warnings, for messages. */
#include "ocicrypt/annot.h"
#include "ocicrypt/describe_block.h"
#include "ocicrypt/recipient.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

bool prop_layer_is_encrypted(const struct prop_descriptor *layer)
{
    return prop_ends_with(layer->media_type, PROP_MT_ENCRYPTED);
}

int prop_layer_check_stated(const struct prop_descriptor *layer, const struct prop_digest *plain,
                            const struct prop_digest *stated, struct prop_err *err)
{
    if (stated->len == 0 || prop_digest_equal(plain, stated))
        return 0;
    if (strcmp(layer->media_type, PROP_MT_WASM_LAYER PROP_MT_ENCRYPTED) != 0 &&
        strcmp(layer->media_type, PROP_MT_CNCF_LAYER PROP_MT_ENCRYPTED) != 0)
        return 0;
    if (stated->alg != plain->alg)
        return 0;
    return prop_err_set_id(err, PROP_E_VERIFY, "plain-digest-mismatch",
                           "the decrypted module is not the one its layer key was made for");
}

static int describe_scheme(const char *scheme, const char *value, json_t *schemes,
                           json_t *warnings, struct prop_err *err)
{
    prop_auto_buf struct prop_buf block = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    const char *cursor = value;
    const char *text = NULL;
    size_t len = 0, n = 0;
    int rc = prop_enc_count_blocks(value, &n, err);
    if (rc != 0)
        return rc;
    prop_auto_json json_t *recipients = json_array();
    if (!recipients)
        return prop_err_nomem(err);
    while (prop_enc_next_block(&cursor, &text, &len)) {
        prop_auto_json json_t *found = NULL;
        rc = prop_enc_decode_block(scheme, text, len, &block, NULL);
        if (rc == PROP_E_NOMEM)
            return prop_err_nomem(err);
        if (rc != 0) {
            prop_describe_warn(warnings, "a block of '%s' is not base64", scheme);
            continue;
        }
        if ((rc = prop_describe_block(scheme, &block, warnings, &found, err)) != 0)
            return rc;
        if (json_array_extend(recipients, found) != 0)
            return prop_err_nomem(err);
    }
    json_t *one = json_pack("{s:s,s:I,s:O}", "scheme", scheme, "blocks", (json_int_t)n,
                            "recipients", recipients);
    return json_array_append_new(schemes, one) == 0 ? 0 : prop_err_nomem(err);
}

/* The cipher's name, or JSON null. */
static json_t *cipher_name(const struct prop_descriptor *layer, json_t *warnings)
{
    prop_auto_free char *text = NULL;
    prop_auto_json json_t *json = NULL;
    struct prop_err err = PROP_ERR_INIT;
    if (prop_enc_pubopts(layer, &text, &err) != 0 ||
        prop_json_parse(text, strlen(text), "public options", &json, &err) != 0) {
        prop_describe_warn(warnings, "no usable public options: %s", err.message);
        return json_null();
    }
    const char *name = json_string_value(json_object_get(json, "cipher"));
    return name ? json_string(name) : json_null();
}

static int describe_encrypted(const struct prop_descriptor *layer, json_t *out, json_t *warnings,
                              struct prop_err *err)
{
    const char *key;
    json_t *value;
    json_t *schemes = json_array();
    if (!schemes || json_object_set_new(out, "schemes", schemes) != 0)
        return prop_err_nomem(err);
    json_object_foreach(json_object_get(layer->json, "annotations"), key, value) {
        if (!prop_starts_with(key, PROP_ENC_KEYS) || !json_is_string(value))
            continue;
        const char *scheme = key + strlen(PROP_ENC_KEYS);
        int rc = describe_scheme(scheme, json_string_value(value), schemes, warnings, err);
        if (rc != 0)
            return rc;
    }
    const char *title = prop_descriptor_annotation(layer, PROP_ANNOTATION_TITLE);
    if (json_array_size(schemes) == 0)
        prop_describe_warn(warnings, "no wrapped key: nobody can open the layer");
    if (json_array_size(schemes) > 1)
        prop_describe_warn(warnings, "several key schemes on one layer: readers built on the Rust "
                           "library fail at random");
    if (title)
        prop_describe_warn(warnings, "the layer keeps its title '%s': oras writes the ciphertext "
                           "under that name", title);
    if (json_object_set_new(out, "cipher", cipher_name(layer, warnings)) != 0)
        return prop_err_nomem(err);
    size_t plain = strlen(layer->media_type) - strlen(PROP_MT_ENCRYPTED);
    if (json_object_set_new(out, "plain_media_type", json_stringn(layer->media_type, plain)) != 0)
        return prop_err_nomem(err);
    return 0;
}

/* Annotations that stay readable; NULL when memory is out. */
static json_t *clear_annotations(const struct prop_descriptor *layer)
{
    json_t *clear = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(layer->json, "annotations"), key, value)
        if (!prop_starts_with(key, PROP_ENC_PREFIX) && json_object_set(clear, key, value) != 0) {
            json_decref(clear);
            return NULL;
        }
    return clear;
}

static void warn_plain(const struct prop_descriptor *layer, json_t *warnings)
{
    const char *type = layer->media_type;
    if (prop_ends_with(type, "+enc"))
        prop_describe_warn(warnings, "'%s' is the form of before 2019, which nothing opens", type);
    else
        prop_describe_warn(warnings, "the layer is not encrypted ('%s')", type);
    if (!prop_ends_with(type, "+enc") && strstr(type, "encrypted"))
        prop_describe_warn(warnings, "the type says 'encrypted', but not as '" PROP_MT_ENCRYPTED
                           "' at its end: readers disagree about it");
}

int prop_layer_describe(const struct prop_descriptor *layer, json_t **ret, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT];
    bool encrypted = prop_layer_is_encrypted(layer);
    prop_auto_json json_t *out =
        json_pack("{s:b,s:s,s:s,s:I,s:o,s:[]}", "encrypted", encrypted ? 1 : 0, "media_type",
                  layer->media_type, "digest", prop_digest_format(&layer->digest, digest), "size",
                  (json_int_t)layer->size, "clear_annotations", clear_annotations(layer),
                  "warnings");
    json_t *warnings = json_object_get(out, "warnings");
    if (!warnings)
        return prop_err_nomem(err);
    int rc = 0;
    if (encrypted)
        rc = describe_encrypted(layer, out, warnings, err);
    else
        warn_plain(layer, warnings);
    if (rc != 0)
        return rc;
    *ret = PROP_TAKE(out);
    return 0;
}
