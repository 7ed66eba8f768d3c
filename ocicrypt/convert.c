/* Docker's media types and their OCI counterparts, which stand for the same bytes. */
#include "ocicrypt/convert.h"

#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define DOCKER "application/vnd.docker."
#define LAYER "application/vnd.oci.image.layer."

static const struct {
    const char *docker, *oci;
} types[] = {
    { DOCKER "container.image.v1+json", "application/vnd.oci.image.config.v1+json" },
    { DOCKER "image.rootfs.diff.tar.gzip", LAYER "v1.tar+gzip" },
    { DOCKER "image.rootfs.diff.tar.zstd", LAYER "v1.tar+zstd" },
    { DOCKER "image.rootfs.diff.tar", LAYER "v1.tar" },
    { DOCKER "image.rootfs.foreign.diff.tar.gzip", LAYER "nondistributable.v1.tar+gzip" },
    { DOCKER "image.rootfs.foreign.diff.tar", LAYER "nondistributable.v1.tar" },
};

static int convert_type(json_t *descriptor, const char **type, bool *changed, struct prop_err *err)
{
    if (!prop_starts_with(*type, DOCKER) || prop_ends_with(*type, PROP_MT_ENCRYPTED))
        return 0;
    for (size_t i = 0; i < PROP_ARRAY_LEN(types); i++) {
        if (strcmp(*type, types[i].docker) != 0)
            continue;
        if (json_object_set_new(descriptor, "mediaType", json_string(types[i].oci)) != 0)
            return prop_err_nomem(err);
        *type = types[i].oci;
        *changed = true;
        return 0;
    }
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "media-type",
                           "media type '%s' has no OCI counterpart", *type);
}

int prop_convert_to_oci(struct prop_walk_image *im, bool *ret_changed, struct prop_err *err)
{
    bool changed = strcmp(im->type, PROP_MT_DOCKER_MANIFEST) == 0;
    int rc = 0;
    if (changed) {
        char *type = prop_strdup(PROP_MT_OCI_MANIFEST);
        if (!type || json_object_set_new(im->m.json, "mediaType", json_string(type)) != 0) {
            prop_free(type);
            return prop_err_nomem(err);
        }
        prop_free(im->type);
        im->type = type;
    }
    rc = convert_type(im->m.config.json, &im->m.config.media_type, &changed, err);
    for (size_t i = 0; i < im->m.n_layers && rc == 0; i++) {
        struct prop_descriptor *d = &im->m.layers[i];
        rc = convert_type(d->json, &d->media_type, &changed, err);
    }
    im->changed = im->changed || changed;
    if (rc == 0)
        *ret_changed = changed;
    return rc;
}
