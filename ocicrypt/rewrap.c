/* Recipients of whole images: each encrypted layer's annotations are changed, and the manifest is
 * written anew. Blobs are copied only where the destination is another place. */
#include "ocicrypt/rewrap.h"

#include "ocicrypt/image_walk.h"
#include "ocicrypt/rewrap_layer.h"
#include "util/mem.h"
#include "util/stop.h"

#include <string.h>

struct rewrap {
    const struct prop_rewrap_options *o;
    const struct prop_walk *walk;
    bool *used;        /* per `remove`: did it name anybody */
    struct prop_rewrap_result r;
};

/* All manifests are changed before anything is moved: only then it is known whom `remove` named. */
static int rewrap_layers(void *ctx, struct prop_walk_image *im, struct prop_err *err)
{
    struct rewrap *w = ctx;
    for (size_t i = 0; i < im->m.n_layers; i++) {
        size_t added = 0, removed = 0;
        if (!prop_layer_is_encrypted(&im->m.layers[i])) {
            w->r.plain++;
            continue;
        }
        int rc = prop_stop_check(err);
        if (rc == 0)
            rc = prop_rewrap_layer(im->m.layers[i].json, w->o, w->used, &added, &removed, err);
        if (rc != 0)
            return prop_err_wrap(err, "layer %zu of %zu", i + 1, im->m.n_layers);
        w->r.layers++;
        w->r.added += added;
        w->r.removed += removed;
        im->changed = im->changed || added + removed > 0;
    }
    return 0;
}

static int check_used(const struct rewrap *w, struct prop_err *err)
{
    if (w->r.layers == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "not-encrypted",
                               "no layer of the image is encrypted");
    for (size_t i = 0; i < w->o->n_remove; i++) {
        if (w->used[i])
            continue;
        (void)prop_err_set_id(err, PROP_E_USAGE, "recipient-unknown",
                              "no layer has a recipient '%s'", w->o->remove[i]);
        return prop_err_hint(err, "'propenc inspect' tells who is there; kbs:///r/t/n, kid:ID, "
                                  "thumb:ID or a scheme (jwe, pkcs7, provider.NAME)");
    }
    return 0;
}

static int move_blobs(void *ctx, struct prop_walk_image *im, struct prop_err *err)
{
    struct rewrap *w = ctx;
    int rc = check_used(w, err);
    return rc != 0 || w->o->dry_run ? rc : prop_walk_copy_blobs(w->walk, im, err);
}

int prop_image_rewrap(struct prop_src *src, struct prop_dst *dst,
                      const struct prop_rewrap_options *o, struct prop_rewrap_result *ret,
                      struct prop_err *err)
{
    prop_auto_free bool *used = prop_zalloc((o->n_remove + 1) * sizeof(*used));
    struct rewrap w = { .o = o, .used = used };
    const struct prop_walk walk = { .src = src, .dst = dst, .platforms = o->platforms,
                                    .n_platforms = o->n_platforms, .others = PROP_WALK_COPY,
                                    .leave_blobs = o->dry_run,
                                    .check = rewrap_layers, .image = move_blobs, .ctx = &w };
    struct prop_walk_result out = { .size = 0 };
    if (!used)
        return prop_err_nomem(err);
    if (prop_src_is_bare(src))
        return prop_err_set_id(err, PROP_E_INPUT, "not-encrypted",
                               "a bare module is not encrypted: there are no recipients");
    w.walk = &walk;
    int rc = prop_image_walk(&walk, &out, err);
    if (rc != 0)
        return rc;
    w.r.before = out.before;
    w.r.manifest = out.manifest;
    *ret = w.r;
    return 0;
}
