/* Reading manifests and descriptors. Refuses: another schemaVersion, missing members, a media type
 * that the body and the server do not agree on, and documents that are index and manifest at once. */
#include "oci/manifest.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>
#include <strings.h>

const char prop_wasm_config_blob[3] = "{}";

int prop_wasm_config_digest(struct prop_digest *ret, struct prop_err *err)
{
    return prop_digest_of(PROP_SHA256, prop_wasm_config_blob, 2, ret, err);
}

struct descriptor_fields {
    const char *media_type, *digest;
    json_int_t size;
    json_t *annotations;
};

static int check_annotations(const json_t *annotations, const char *what, struct prop_err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)annotations, key, value) {
        if (!json_is_string(value))
            return prop_err_set(err, PROP_E_INPUT, "%s: annotation '%s' is no string", what, key);
        if (json_string_length(value) > PROP_LIMIT_ANNOTATION)
            return prop_err_set(err, PROP_E_LIMIT, "%s: annotation '%s' is over %u bytes", what,
                                key, PROP_LIMIT_ANNOTATION);
    }
    return 0;
}

int prop_descriptor_read(json_t *object, const char *what, struct prop_descriptor *ret,
                         struct prop_err *err)
{
    static const struct prop_json_field fields[] = {
        { "mediaType", PROP_JSON_STRING, offsetof(struct descriptor_fields, media_type),
          PROP_JSON_REQUIRED },
        { "digest", PROP_JSON_STRING, offsetof(struct descriptor_fields, digest),
          PROP_JSON_REQUIRED },
        { "size", PROP_JSON_INT, offsetof(struct descriptor_fields, size), PROP_JSON_REQUIRED },
        { "annotations", PROP_JSON_OBJECT, offsetof(struct descriptor_fields, annotations),
          PROP_JSON_NULLABLE },
    };
    struct descriptor_fields f = { NULL, NULL, 0, NULL };
    struct prop_descriptor d = { NULL, { PROP_SHA256, 0, { 0 } }, 0, object };
    int rc = prop_json_read(object, what, fields, PROP_ARRAY_LEN(fields), &f, err);

    if (rc < 0)
        return rc;
    if (f.size < 0)
        return prop_err_set(err, PROP_E_INPUT, "%s: 'size' is negative", what);
    if (f.media_type[0] == '\0')
        return prop_err_set(err, PROP_E_INPUT, "%s: 'mediaType' is empty", what);
    rc = prop_digest_parse(f.digest, &d.digest, err);
    if (rc < 0)
        return prop_err_wrap(err, "%s", what);
    if (f.annotations != NULL) {
        rc = check_annotations(f.annotations, what, err);
        if (rc < 0)
            return rc;
    }
    d.media_type = f.media_type;
    d.size = (uint64_t)f.size;
    *ret = d;
    return 0;
}

json_t *prop_descriptor_new(const char *media_type, const struct prop_digest *digest,
                            uint64_t size)
{
    char text[PROP_DIGEST_TEXT];

    if (size > INT64_MAX)
        return NULL;
    return json_pack("{s:s, s:s, s:I}", "mediaType", media_type, "digest",
                     prop_digest_format(digest, text), "size", (json_int_t)size);
}

const char *prop_descriptor_annotation(const struct prop_descriptor *d, const char *key)
{
    return json_string_value(json_object_get(json_object_get(d->json, "annotations"), key));
}

int prop_descriptor_annotate(json_t *descriptor, const char *key, const char *value,
                             struct prop_err *err)
{
    json_t *all = json_object_get(descriptor, "annotations");

    if (value == NULL) {
        json_object_del(all, key);
        if (json_is_object(all) && json_object_size(all) == 0)
            json_object_del(descriptor, "annotations");
        return 0;
    }
    if (!json_is_object(all)) {
        all = json_object();
        if (all == NULL || json_object_set_new(descriptor, "annotations", all) < 0)
            return prop_err_nomem(err);
    }
    if (json_object_set_new(all, key, json_string(value)) < 0)
        return prop_err_set(err, PROP_E_INPUT, "annotation '%s' is not UTF-8 text", key);
    return 0;
}

static bool known_type(const char *type)
{
    return strcmp(type, PROP_MT_OCI_MANIFEST) == 0 || strcmp(type, PROP_MT_OCI_INDEX) == 0 ||
           strcmp(type, PROP_MT_DOCKER_MANIFEST) == 0 || strcmp(type, PROP_MT_DOCKER_LIST) == 0;
}

/* "type/sub; charset=x" without its parameters, when it says something; NULL otherwise. */
static char *header_type(const char *said)
{
    char *type;
    size_t len;

    if (said == NULL)
        return NULL;
    len = strcspn(said, "; \t");
    if (len == 0 || strncasecmp(said, "application/vnd.", 16) != 0)
        return NULL;
    type = prop_strndup(said, len);
    return type;
}

/* The type of a manifest: the body's, else what was said, else by shape; all must agree. */
static int decide_type(const json_t *json, const char *said, const char *what, const char **ret,
                       struct prop_err *err)
{
    const json_t *member = json_object_get(json, "mediaType");
    bool index = json_object_get(json, "manifests") != NULL;
    bool image = json_object_get(json, "layers") != NULL || json_object_get(json, "config") != NULL;
    const char *type = json_string_value(member);
    bool type_is_index;

    if (member != NULL && type == NULL)
        return prop_err_set(err, PROP_E_INPUT, "%s: 'mediaType' is no string", what);
    if (type != NULL && said != NULL && strcmp(type, said) != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "media-type-mismatch",
                               "%s says it is '%s', the server says '%s'", what, type, said);
    if (type == NULL)
        type = said;
    if (type == NULL)
        type = index ? PROP_MT_OCI_INDEX : PROP_MT_OCI_MANIFEST;
    if (!known_type(type))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "media-type",
                               "%s has media type '%s', which is not handled", what, type);
    type_is_index = strcmp(type, PROP_MT_OCI_INDEX) == 0 || strcmp(type, PROP_MT_DOCKER_LIST) == 0;
    if ((index && image) || (index && !type_is_index) || (image && type_is_index))
        return prop_err_set_id(err, PROP_E_INPUT, "media-type-mismatch",
                               "%s does not have the members of '%s'", what, type);
    *ret = type;
    return 0;
}

static int parse_document(const void *bytes, size_t len, const char *what, json_t **ret,
                          struct prop_err *err)
{
    prop_auto_json json_t *json = NULL;
    json_t *version;
    int rc;

    if (len > PROP_LIMIT_MANIFEST)
        return prop_err_set(err, PROP_E_LIMIT, "%s is larger than %u bytes", what,
                            PROP_LIMIT_MANIFEST);
    rc = prop_json_parse(bytes, len, what, &json, err);
    if (rc < 0)
        return rc;
    if (!json_is_object(json))
        return prop_err_set(err, PROP_E_INPUT, "%s is no JSON object", what);
    version = json_object_get(json, "schemaVersion");
    if (!json_is_integer(version))
        return prop_err_set(err, PROP_E_INPUT, "%s: 'schemaVersion' is missing", what);
    if (json_integer_value(version) == 1) {
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "schema1",
                        "%s is a Docker schema 1 manifest, which was given up in 2017", what);
        return prop_err_hint(err, "convert it first: skopeo copy --format oci SRC oci:FOLDER:TAG");
    }
    if (json_integer_value(version) != 2)
        return prop_err_set(err, PROP_E_INPUT, "%s: 'schemaVersion' is %lld, not 2", what,
                            (long long)json_integer_value(version));
    *ret = PROP_TAKE(json);
    return 0;
}

int prop_manifest_type(const void *bytes, size_t len, const char *said, const char *what,
                       char **ret, struct prop_err *err)
{
    prop_auto_json json_t *json = NULL;
    prop_auto_free char *header = header_type(said);
    const char *type = NULL;
    char *copy;
    int rc = parse_document(bytes, len, what, &json, err);

    if (rc == 0)
        rc = decide_type(json, header, what, &type, err);
    if (rc < 0)
        return rc;
    copy = prop_strdup(type);
    if (copy == NULL)
        return prop_err_nomem(err);
    *ret = copy;
    return 0;
}

static int read_layers(struct prop_manifest *m, const char *what, struct prop_err *err)
{
    json_t *layers = json_object_get(m->json, "layers");
    char name[256];
    size_t n;

    if (!json_is_array(layers))
        return prop_err_set(err, PROP_E_INPUT, "%s: 'layers' is missing or no array", what);
    n = json_array_size(layers);
    if (n > PROP_LIMIT_LAYERS)
        return prop_err_set(err, PROP_E_LIMIT, "%s has more than %d layers", what,
                            PROP_LIMIT_LAYERS);
    m->layers = prop_realloc_array(NULL, n > 0 ? n : 1, sizeof(*m->layers));
    if (m->layers == NULL)
        return prop_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        int rc;

        snprintf(name, sizeof(name), "%.200s: layer %zu", what, i + 1);
        rc = prop_descriptor_read(json_array_get(layers, i), name, &m->layers[i], err);
        if (rc < 0)
            return rc;
        m->n_layers = i + 1;
    }
    return 0;
}

static int read_manifest(struct prop_manifest *m, const char *said, const char *what,
                         struct prop_err *err)
{
    const char *type = NULL;
    char name[256];
    json_t *annotations = json_object_get(m->json, "annotations");
    int rc = decide_type(m->json, said, what, &type, err);

    if (rc < 0)
        return rc;
    if (strcmp(type, PROP_MT_OCI_INDEX) == 0 || strcmp(type, PROP_MT_DOCKER_LIST) == 0) {
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "index",
                        "%s is an index of several images, not one image", what);
        return prop_err_hint(err, "name one of its images by digest: NAME@sha256:...");
    }
    if (annotations != NULL && !json_is_object(annotations) && !json_is_null(annotations))
        return prop_err_set(err, PROP_E_INPUT, "%s: 'annotations' is no object", what);
    if (json_is_object(annotations)) {
        rc = check_annotations(annotations, what, err);
        if (rc < 0)
            return rc;
    }
    snprintf(name, sizeof(name), "%.200s: config", what);
    if (json_object_get(m->json, "config") == NULL)
        return prop_err_set(err, PROP_E_INPUT, "%s: 'config' is missing", what);
    rc = prop_descriptor_read(json_object_get(m->json, "config"), name, &m->config, err);
    return rc == 0 ? read_layers(m, what, err) : rc;
}

int prop_manifest_parse(const void *bytes, size_t len, const char *media_type, const char *what,
                        struct prop_manifest *ret, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { 0 };
    prop_auto_free char *header = header_type(media_type);
    int rc = parse_document(bytes, len, what, &m.json, err);

    if (rc == 0)
        rc = read_manifest(&m, header, what, err);
    if (rc < 0)
        return rc;
    *ret = m;
    memset(&m, 0, sizeof(m));
    return 0;
}

void prop_manifest_release(struct prop_manifest *m)
{
    json_decref(m->json);
    prop_free(m->layers);
    memset(m, 0, sizeof(*m));
}

json_t *prop_manifest_new_wasm(const struct prop_digest *layer_digest, uint64_t layer_size,
                               const char *title)
{
    struct prop_digest config_digest;
    prop_auto_json json_t *config = NULL;
    prop_auto_json json_t *layer = NULL;

    if (prop_wasm_config_digest(&config_digest, NULL) < 0)
        return NULL;
    config = prop_descriptor_new(PROP_MT_WASM_CONFIG, &config_digest, 2);
    layer = prop_descriptor_new(PROP_MT_WASM_LAYER, layer_digest, layer_size);
    if (config == NULL || layer == NULL)
        return NULL;
    if (title != NULL && title[0] != '\0' &&
        prop_descriptor_annotate(layer, PROP_ANNOTATION_TITLE, title, NULL) < 0)
        return NULL;
    return json_pack("{s:i, s:O, s:[O]}", "schemaVersion", 2, "config", config, "layers", layer);
}
