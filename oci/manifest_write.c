/* Writing manifests as Go's encoding/json writes image-spec's structs: fixed member order, sorted
 * annotation keys, its escapes (ocicrypt.md 7). Members Go does not know keep their place behind. */
#include "oci/manifest.h"

#include "util/mem.h"

#include <stdlib.h>
#include <string.h>

/* of an image and of an index: no document has both `layers` and `manifests` */
static const char *const manifest_order[] = { "schemaVersion", "mediaType", "artifactType",
                                              "config", "layers", "manifests", "subject",
                                              "annotations", NULL };
static const char *const descriptor_order[] = { "mediaType", "digest", "size", "urls",
                                                "annotations", "data", "platform", "artifactType",
                                                NULL };

static const char *const platform_order[] = { "architecture", "os", "os.version", "os.features",
                                              "variant", NULL };

/* What the members of an object are, so that each is written in its own order. */
enum shape { SHAPE_PLAIN, SHAPE_MANIFEST, SHAPE_DESCRIPTOR, SHAPE_PLATFORM, SHAPE_SORTED };

static int write_string(const char *s, size_t len, struct prop_buf *out, struct prop_err *err)
{
    size_t start = 0;
    int rc = prop_buf_puts(out, "\"", err);

    for (size_t i = 0; rc == 0 && i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        char escape[8] = "";
        size_t width = 1;

        if (c == '"' || c == '\\')
            snprintf(escape, sizeof(escape), "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof(escape), "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c < 0x20 || c == '<' || c == '>' || c == '&')
            snprintf(escape, sizeof(escape), "\\u%04x", c);
        else if (c == 0xe2 && i + 2 < len && (unsigned char)s[i + 1] == 0x80 &&
                 ((unsigned char)s[i + 2] & 0xfe) == 0xa8) {
            /* U+2028 and U+2029, which JavaScript takes for line ends */
            snprintf(escape, sizeof(escape), "\\u202%c", s[i + 2] & 1 ? '9' : '8');
            width = 3;
        }
        if (escape[0] == '\0')
            continue;
        rc = prop_buf_add(out, s + start, i - start, err);
        if (rc == 0)
            rc = prop_buf_puts(out, escape, err);
        i += width - 1;
        start = i + 1;
    }
    if (rc == 0)
        rc = prop_buf_add(out, s + start, len - start, err);
    return rc == 0 ? prop_buf_puts(out, "\"", err) : rc;
}

static int write_value(const json_t *v, enum shape shape, struct prop_buf *out,
                       struct prop_err *err);

static enum shape member_shape(enum shape parent, const char *key)
{
    if (parent == SHAPE_MANIFEST &&
        (strcmp(key, "config") == 0 || strcmp(key, "layers") == 0 ||
         strcmp(key, "manifests") == 0 || strcmp(key, "subject") == 0))
        return SHAPE_DESCRIPTOR;
    if (parent == SHAPE_DESCRIPTOR && strcmp(key, "platform") == 0)
        return SHAPE_PLATFORM;
    if (parent != SHAPE_PLAIN && strcmp(key, "annotations") == 0)
        return SHAPE_SORTED;
    return SHAPE_PLAIN;
}

static int write_member(const char *key, const json_t *v, enum shape parent, bool *first,
                        struct prop_buf *out, struct prop_err *err)
{
    int rc = *first ? 0 : prop_buf_puts(out, ",", err);

    *first = false;
    if (rc == 0)
        rc = write_string(key, strlen(key), out, err);
    if (rc == 0)
        rc = prop_buf_puts(out, ":", err);
    return rc == 0 ? write_value(v, member_shape(parent, key), out, err) : rc;
}

static bool listed(const char *const *order, const char *key)
{
    for (; order != NULL && *order != NULL; order++) {
        if (strcmp(*order, key) == 0)
            return true;
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int write_sorted(json_t *object, struct prop_buf *out, struct prop_err *err)
{
    size_t n = 0;
    prop_auto_free const char **keys = prop_realloc_array(NULL, json_object_size(object) + 1,
                                                          sizeof(*keys));
    const char *key;
    json_t *v;
    bool first = true;
    int rc = 0;

    if (keys == NULL)
        return prop_err_nomem(err);
    json_object_foreach(object, key, v)
        keys[n++] = key;
    qsort(keys, n, sizeof(*keys), by_name);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = write_member(keys[i], json_object_get(object, keys[i]), SHAPE_PLAIN, &first, out, err);
    return rc;
}

static int write_object(json_t *object, enum shape shape, struct prop_buf *out,
                        struct prop_err *err)
{
    const char *const *order = shape == SHAPE_MANIFEST     ? manifest_order
                               : shape == SHAPE_DESCRIPTOR ? descriptor_order
                               : shape == SHAPE_PLATFORM   ? platform_order
                                                           : NULL;
    const char *key;
    json_t *v;
    bool first = true;
    int rc = prop_buf_puts(out, "{", err);

    if (shape == SHAPE_SORTED && rc == 0)
        rc = write_sorted(object, out, err);
    for (const char *const *o = order; rc == 0 && o != NULL && *o != NULL; o++) {
        v = json_object_get(object, *o);
        if (v != NULL)
            rc = write_member(*o, v, shape, &first, out, err);
    }
    if (shape != SHAPE_SORTED) {
        json_object_foreach(object, key, v) {
            if (rc == 0 && !listed(order, key))
                rc = write_member(key, v, shape, &first, out, err);
        }
    }
    return rc == 0 ? prop_buf_puts(out, "}", err) : rc;
}

static int write_array(const json_t *v, enum shape shape, struct prop_buf *out,
                       struct prop_err *err)
{
    int rc = prop_buf_puts(out, "[", err);

    for (size_t i = 0; rc == 0 && i < json_array_size(v); i++) {
        if (i > 0)
            rc = prop_buf_puts(out, ",", err);
        if (rc == 0)
            rc = write_value(json_array_get(v, i), shape, out, err);
    }
    return rc == 0 ? prop_buf_puts(out, "]", err) : rc;
}

/* Nesting is bounded by the parser's PROP_LIMIT_JSON_DEPTH. */
static int write_value(const json_t *v, enum shape shape, struct prop_buf *out,
                       struct prop_err *err)
{
    char number[64];

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return write_object((json_t *)(uintptr_t)v, shape, out, err);
    case JSON_ARRAY:
        return write_array(v, shape, out, err);
    case JSON_STRING:
        return write_string(json_string_value(v), json_string_length(v), out, err);
    case JSON_INTEGER:
        return prop_buf_printf(out, err, "%lld", (long long)json_integer_value(v));
    case JSON_REAL:
        snprintf(number, sizeof(number), "%.17g", json_real_value(v));
        return prop_buf_puts(out, number, err);
    case JSON_TRUE:
        return prop_buf_puts(out, "true", err);
    case JSON_FALSE:
        return prop_buf_puts(out, "false", err);
    case JSON_NULL:
        break;
    }
    return prop_buf_puts(out, "null", err);
}

int prop_manifest_write(const json_t *manifest, struct prop_buf *out, struct prop_err *err)
{
    return write_value(manifest, SHAPE_MANIFEST, out, err);
}

int prop_index_write(const json_t *index, struct prop_buf *out, struct prop_err *err)
{
    return write_value(index, SHAPE_PLAIN, out, err);
}
