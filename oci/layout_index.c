/* The index.json of a layout. Extra members that other tools write are kept. */
#include "oci/layout_index.h"

#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *prop_index_new(void)
{
    return json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", PROP_MT_OCI_INDEX,
                     "manifests");
}

int prop_index_parse(const void *bytes, size_t len, const char *what, json_t **ret,
                     struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    json_t *version;
    int rc = prop_json_parse(bytes, len, what, &index, err);

    if (rc < 0)
        return rc;
    version = json_object_get(index, "schemaVersion");
    if (!json_is_integer(version) || json_integer_value(version) != 2)
        return prop_err_set(err, PROP_E_INPUT, "%s: 'schemaVersion' is not 2", what);
    if (!json_is_array(json_object_get(index, "manifests")))
        return prop_err_set(err, PROP_E_INPUT, "%s: 'manifests' is missing or no array", what);
    *ret = PROP_TAKE(index);
    return 0;
}

static const char *entry_name(const json_t *entry)
{
    return json_string_value(
        json_object_get(json_object_get(entry, "annotations"), PROP_ANNOTATION_REF_NAME));
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *prop_index_names(const json_t *index)
{
    json_t *manifests = json_object_get(index, "manifests");
    size_t n = 0, max = json_array_size(manifests);
    prop_auto_free const char **names = prop_realloc_array(NULL, max + 1, sizeof(*names));
    prop_auto_json json_t *out = json_array();

    if (names == NULL || out == NULL)
        return NULL;
    for (size_t i = 0; i < max; i++) {
        const char *name = entry_name(json_array_get(manifests, i));

        if (name != NULL)
            names[n++] = name;
    }
    qsort(names, n, sizeof(*names), compare_names);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(names[i], names[i - 1]) == 0)
            continue;
        if (json_array_append_new(out, json_string(names[i])) < 0)
            return NULL;
    }
    return PROP_TAKE(out);
}

static void hint_names(const json_t *index, struct prop_err *err)
{
    prop_auto_json json_t *names = prop_index_names(index);
    char list[300] = "";
    size_t used = 0;

    for (size_t i = 0; names != NULL && i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        int n = snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? ", " : "", name);

        if (n < 0 || (size_t)n >= sizeof(list) - used) {
            list[used] = '\0';
            break;
        }
        used += (size_t)n;
    }
    if (used > 0)
        prop_err_hint(err, "names there: %s", list);
    else
        prop_err_hint(err, "nothing there has a name");
}

struct wanted {
    const char *name;          /* NULL = any */
    size_t name_len;
    struct prop_digest digest; /* len 0 = any */
};

static bool entry_matches(const json_t *entry, const struct wanted *w)
{
    const char *name = entry_name(entry);
    const char *digest = json_string_value(json_object_get(entry, "digest"));
    struct prop_digest d;

    if (w->name != NULL &&
        (name == NULL || strlen(name) != w->name_len || memcmp(name, w->name, w->name_len) != 0))
        return false;
    if (w->digest.len == 0)
        return true;
    return digest != NULL && prop_digest_parse(digest, &d, NULL) == 0 &&
           prop_digest_equal(&d, &w->digest);
}

/* One entry, or several of one digest. */
static int find_matching(const json_t *index, const struct wanted *w, json_t **ret)
{
    json_t *manifests = json_object_get(index, "manifests"), *found = NULL;

    for (size_t i = 0; i < json_array_size(manifests); i++) {
        json_t *entry = json_array_get(manifests, i);

        if (!entry_matches(entry, w))
            continue;
        if (found != NULL && !json_equal(json_object_get(found, "digest"),
                                         json_object_get(entry, "digest")))
            return PROP_E_USAGE;
        found = entry;
    }
    *ret = found;
    return found != NULL ? 0 : PROP_E_NOTFOUND;
}

int prop_index_find(const json_t *index, const char *name, const char *what,
                    struct prop_descriptor *ret, struct prop_err *err)
{
    struct wanted w = { name, name != NULL ? strlen(name) : 0, { PROP_SHA256, 0, { 0 } } };
    const char *at = name != NULL ? strrchr(name, '@') : NULL;
    json_t *entry = NULL;
    int rc = find_matching(index, &w, &entry);

    if (rc == PROP_E_NOTFOUND && at != NULL && prop_digest_parse(at + 1, &w.digest, NULL) == 0) {
        w.name_len = (size_t)(at - name);
        if (w.name_len == 0)
            w.name = NULL;
        rc = find_matching(index, &w, &entry);
    }
    if (rc == PROP_E_USAGE) {
        prop_err_set_id(err, rc, "which-image", "'%s' holds several images%s%s", what,
                        name != NULL ? " named " : "", name != NULL ? name : "");
        hint_names(index, err);
        return rc;
    }
    if (rc < 0) {
        prop_err_set_id(err, rc, "image-not-found", "'%s' holds no image%s%s%s", what,
                        name != NULL ? " '" : "", name != NULL ? name : "",
                        name != NULL ? "'" : "");
        hint_names(index, err);
        return rc;
    }
    return prop_descriptor_read(entry, what, ret, err);
}

/* Add the entry, or take one that is already there for it. */
static int put_entry(json_t *manifests, const char *name, const char *media_type,
                     const struct prop_digest *digest, uint64_t size, struct prop_err *err)
{
    struct wanted same = { NULL, 0, *digest };
    json_t *entry;

    for (size_t i = 0; i < json_array_size(manifests); i++) {
        entry = json_array_get(manifests, i);
        if (!entry_matches(entry, &same))
            continue;
        if (name == NULL || (entry_name(entry) != NULL && strcmp(entry_name(entry), name) == 0))
            return 0;
        if (entry_name(entry) == NULL)
            return prop_descriptor_annotate(entry, PROP_ANNOTATION_REF_NAME, name, err);
    }
    entry = prop_descriptor_new(media_type, digest, size);
    if (entry == NULL || json_array_append_new(manifests, entry) < 0)
        return prop_err_nomem(err);
    return name != NULL ? prop_descriptor_annotate(entry, PROP_ANNOTATION_REF_NAME, name, err) : 0;
}

int prop_index_check_nameless(const json_t *index, const char *what, struct prop_err *err)
{
    json_t *manifests = json_object_get(index, "manifests");

    for (size_t i = 0; i < json_array_size(manifests); i++) {
        if (entry_name(json_array_get(manifests, i)) == NULL)
            continue;
        (void)prop_err_set_id(err, PROP_E_USAGE, "which-image",
                              "'%s' holds images with names, so a new one needs a name too", what);
        hint_names(index, err);
        return PROP_E_USAGE;
    }
    return 0;
}

/* Entries without a name, of other manifests: nobody can ask for them once there is a new one. */
static void drop_nameless(json_t *manifests, const struct wanted *same)
{
    for (size_t i = json_array_size(manifests); i-- > 0;) {
        json_t *entry = json_array_get(manifests, i);

        if (entry_name(entry) == NULL && !entry_matches(entry, same))
            (void)json_array_remove(manifests, i);
    }
}

int prop_index_put(json_t *index, const char *name, const char *media_type,
                   const struct prop_digest *digest, uint64_t size, struct prop_err *err)
{
    json_t *manifests = json_object_get(index, "manifests");
    struct wanted same = { NULL, 0, *digest };

    if (name == NULL)
        drop_nameless(manifests, &same);
    for (size_t i = 0; name != NULL && i < json_array_size(manifests); i++) {
        json_t *entry = json_array_get(manifests, i);
        const char *old = entry_name(entry);

        if (old != NULL && strcmp(old, name) == 0 && !entry_matches(entry, &same))
            (void)prop_descriptor_annotate(entry, PROP_ANNOTATION_REF_NAME, NULL, NULL);
    }
    return put_entry(manifests, name, media_type, digest, size, err);
}

int prop_layout_check_version(const void *bytes, size_t len, const char *what,
                              struct prop_err *err)
{
    prop_auto_json json_t *json = NULL;
    const char *version;
    int rc = prop_json_parse(bytes, len, what, &json, err);

    if (rc < 0)
        return rc;
    version = json_string_value(json_object_get(json, "imageLayoutVersion"));
    if (version == NULL || strcmp(version, "1.0.0") != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "layout-version",
                               "%s: layout version '%s' is not 1.0.0", what,
                               version != NULL ? version : "");
    return 0;
}

char *prop_layout_blob_path(const char *root, const struct prop_digest *digest)
{
    char hex[PROP_DIGEST_TEXT];

    return prop_asprintf("%s%sblobs/%s/%s", root, root[0] != '\0' ? "/" : "",
                         prop_hash_name(digest->alg), prop_digest_hex(digest, hex));
}

static int load_file(const char *dir, const char *name, struct prop_buf *out, char **ret_path,
                     struct prop_err *err)
{
    char *path = prop_path_join(dir, name);
    int rc;

    if (path == NULL)
        return prop_err_nomem(err);
    *ret_path = path;
    rc = prop_file_read(path, out, err);
    if (rc != PROP_E_NOTFOUND)
        return rc;
    if (access(dir, F_OK) != 0)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-source", "'%s' is not there", dir);
    return prop_err_set_id(err, PROP_E_INPUT, "not-a-layout", "'%s' is no OCI layout: no '%s'",
                           dir, name);
}

int prop_layout_load(const char *dir, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *version_path = NULL;
    prop_auto_free char *index_path = NULL;
    int rc = load_file(dir, "oci-layout", &text, &version_path, err);

    if (rc == 0)
        rc = prop_layout_check_version(text.data, text.len, version_path, err);
    prop_buf_clear(&text);
    if (rc == 0)
        rc = load_file(dir, "index.json", &text, &index_path, err);
    return rc == 0 ? prop_index_parse(text.data, text.len, index_path, ret, err) : rc;
}
