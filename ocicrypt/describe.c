/* What a layer's descriptor tells without any key: for inspect, for warnings, for messages. */
#include "ocicrypt/annot.h"
#include "ocicrypt/packet.h"
#include "ocicrypt/recipient.h"

#include "jose/jwe.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdarg.h>
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

/* Appends a formatted warning; one that does not fit in memory is not worth a failure. */
__attribute__((format(printf, 2, 3))) static void warn(json_t *warnings, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)json_array_append_new(warnings, json_vsprintf(fmt, ap));
    va_end(ap);
}

static void describe_kid(const char *kid, json_t *warnings)
{
    struct prop_resource_id id;
    struct prop_err err = PROP_ERR_INIT;
    if (strcmp(kid, "kbs:///default/test-key/1") == 0)
        warn(warnings, "'%s' is the key provider's sample key, which everybody has", kid);
    if (!prop_starts_with(kid, "kbs://"))
        warn(warnings, "kid '%s' is not a kbs:/// address: the Confidential Data Hub refuses it",
             kid);
    else if (prop_resource_id_parse(kid, false, &id, &err) != 0)
        warn(warnings, "kid '%s' is not of the form kbs:///repo/type/tag", kid);
    else if (id.host[0])
        warn(warnings, "kid '%s' names a host: some readers ignore it, others go there", kid);
}

/* An attestation-agent packet as an object, or NULL when it is none. */
static json_t *describe_packet(const struct prop_buf *block, json_t *warnings)
{
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    struct prop_err err = PROP_ERR_INIT;
    if (prop_packet_parse(block->data, block->len, &p, &err) != 0)
        return NULL;
    describe_kid(p.kid, warnings);
    if (!p.has_tag)
        warn(warnings, "the packet for '%s' is wrapped with A256CTR: it has no integrity", p.kid);
    json_t *out = json_pack("{s:s,s:s}", "kid", p.kid, "wrap_type", p.wrap_type);
    const json_t *version = json_object_get(p.json, "version");
    if (out && version)
        (void)json_object_set(out, "version", json_object_get(p.json, "version"));
    return out;
}

/* One block: an array of what is in it (a general JWE holds several recipients). */
static json_t *describe_block(const char *scheme, const struct prop_buf *block, json_t *warnings)
{
    struct prop_err err = PROP_ERR_INIT;
    json_t *out = NULL;
    if (strcmp(scheme, PROP_SCHEME_JWE) == 0) {
        if (prop_jwe_describe((const char *)block->data, block->len, &out, &err) != 0)
            warn(warnings, "a JWE cannot be read: %s", err.message);
        return out;
    }
    if (!prop_starts_with(scheme, PROP_SCHEME_PROVIDER))
        return json_pack("[{s:I}]", "bytes", (json_int_t)block->len);
    json_t *packet = describe_packet(block, warnings);
    if (packet)
        return json_pack("[o]", packet);
    if (strcmp(scheme, PROP_SCHEME_AGENT) == 0)
        warn(warnings, "a block of '%s' is not a key packet", scheme);
    return json_pack("[{s:I}]", "bytes", (json_int_t)block->len);
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
    json_t *recipients = json_array();
    if (!recipients)
        return prop_err_nomem(err);
    while (prop_enc_next_block(&cursor, &text, &len)) {
        if (prop_enc_decode_block(scheme, text, len, &block, NULL) != 0) {
            warn(warnings, "a block of '%s' is not base64", scheme);
            continue;
        }
        prop_auto_json json_t *found = describe_block(scheme, &block, warnings);
        (void)json_array_extend(recipients, found);
    }
    if (json_array_append_new(schemes, json_pack("{s:s,s:I,s:o}", "scheme", scheme, "blocks",
                                                 (json_int_t)n, "recipients", recipients)) != 0)
        return prop_err_nomem(err);
    return 0;
}

/* The cipher's name, or JSON null. */
static json_t *cipher_name(const struct prop_descriptor *layer, json_t *warnings)
{
    prop_auto_free char *text = NULL;
    prop_auto_json json_t *json = NULL;
    struct prop_err err = PROP_ERR_INIT;
    if (prop_enc_pubopts(layer, &text, &err) != 0 ||
        prop_json_parse(text, strlen(text), "public options", &json, &err) != 0) {
        warn(warnings, "no usable public options: %s", err.message);
        return json_null();
    }
    const char *name = json_string_value(json_object_get(json, "cipher"));
    return name ? json_string(name) : json_null();
}

static bool openable(const char *scheme)
{
    return strcmp(scheme, PROP_SCHEME_JWE) == 0 || strcmp(scheme, PROP_SCHEME_AGENT) == 0;
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
        if (!openable(scheme))
            warn(warnings, "recipients of kind '%s' are recognised, not opened", scheme);
    }
    if (json_array_size(schemes) == 0)
        warn(warnings, "no wrapped key: nobody can open the layer");
    if (json_array_size(schemes) > 1)
        warn(warnings, "several key schemes on one layer: readers built on the Rust library fail "
             "at random");
    if (prop_descriptor_annotation(layer, PROP_ANNOTATION_TITLE))
        warn(warnings, "the layer keeps its title '%s': oras writes the ciphertext under that name",
             prop_descriptor_annotation(layer, PROP_ANNOTATION_TITLE));
    if (json_object_set_new(out, "cipher", cipher_name(layer, warnings)) != 0)
        return prop_err_nomem(err);
    size_t plain = strlen(layer->media_type) - strlen(PROP_MT_ENCRYPTED);
    if (json_object_set_new(out, "plain_media_type", json_stringn(layer->media_type, plain)) != 0)
        return prop_err_nomem(err);
    return 0;
}

/* Annotations that stay readable. */
static json_t *clear_annotations(const struct prop_descriptor *layer)
{
    json_t *clear = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(layer->json, "annotations"), key, value)
        if (!prop_starts_with(key, PROP_ENC_PREFIX))
            (void)json_object_set(clear, key, value);
    return clear;
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
    else if (prop_ends_with(layer->media_type, "+enc"))
        warn(warnings, "'%s' is the form of before 2019, which nothing opens", layer->media_type);
    else
        warn(warnings, "the layer is not encrypted ('%s')", layer->media_type);
    if (rc != 0)
        return rc;
    *ret = PROP_TAKE(out);
    return 0;
}
