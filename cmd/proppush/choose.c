/* Which image of an index: the one asked for, or the only one; never one that was guessed. */
#include "cmd/proppush/choose.h"

#include "ocicrypt/image_walk.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

bool proppush_is_index(const char *media_type)
{
    return strcmp(media_type, PROP_MT_OCI_INDEX) == 0 ||
           strcmp(media_type, PROP_MT_DOCKER_LIST) == 0;
}

/* The hint: what there is to choose from. */
static void list_platforms(json_t *entries, struct prop_buf *out)
{
    char text[128];
    size_t i;
    json_t *entry;

    json_array_foreach(entries, i, entry)
        if (*prop_walk_platform(entry, text))
            (void)prop_buf_printf(out, NULL, "%s%s", out->len > 0 ? ", " : "", text);
}

static int not_chosen(json_t *entries, const char *platform, struct prop_err *err)
{
    prop_auto_buf struct prop_buf there = PROP_BUF_INIT(300);
    int rc;

    list_platforms(entries, &there);
    if (platform != NULL)
        rc = prop_err_set_id(err, PROP_E_NOTFOUND, "platform-not-found",
                             "the index holds no single image for '%s'", platform);
    else
        rc = prop_err_set_id(err, PROP_E_UNSUPPORTED, "index",
                             "it is an index of %zu images, not one image",
                             json_array_size(entries));
    (void)prop_err_hint(err, "--platform one of: %s",
                        there.len > 0 ? prop_buf_str(&there)
                                      : "(it names none; use NAME@sha256:...)");
    return rc;
}

/* BuildKit's statements about an image are no image to choose. */
static bool counts(json_t *entry, const char *platform)
{
    char text[128];

    if (platform != NULL)
        return prop_walk_fits(entry, platform);
    return strncmp(prop_walk_platform(entry, text), "unknown/", 8) != 0;
}

static int pick(const struct prop_buf *index, const char *platform, json_t **ret_index,
                json_t **ret_entry, struct prop_err *err)
{
    json_t *entries, *entry, *found = NULL;
    size_t i, n = 0;
    int rc = prop_json_parse(prop_buf_str(index), index->len, "the index", ret_index, err);

    if (rc < 0)
        return rc;
    entries = json_object_get(*ret_index, "manifests");
    json_array_foreach(entries, i, entry) {
        if (counts(entry, platform)) {
            found = entry;
            n++;
        }
    }
    if (n != 1)
        return not_chosen(entries, platform, err);
    *ret_entry = found;
    return 0;
}

int proppush_one_image(struct prop_src *src, const char *platform, struct prop_buf *bytes,
                       char **ret_type, struct prop_digest *ret_digest, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    prop_auto_free char *type = NULL;
    struct prop_descriptor d;
    json_t *entry = NULL;
    int rc = platform != NULL ? prop_walk_check_platform(platform, err) : 0;

    if (rc == 0)
        rc = prop_src_manifest(src, bytes, &type, ret_digest, err);
    if (rc < 0)
        return rc;
    if (!proppush_is_index(type)) {
        if (platform != NULL)
            return prop_err_set_id(err, PROP_E_USAGE, "not-an-index",
                                   "it is one image: there are no platforms to choose from");
        *ret_type = PROP_TAKE(type);
        return 0;
    }
    rc = pick(bytes, platform, &index, &entry, err);
    if (rc == 0)
        rc = prop_descriptor_read(entry, "an entry of the index", &d, err);
    if (rc < 0)
        return rc;
    prop_buf_clear(bytes);
    rc = prop_src_child(src, &d, bytes, ret_type, err);
    if (rc == 0)
        *ret_digest = d.digest;
    return rc;
}
