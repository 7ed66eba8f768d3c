#include "publish/layer_check.h"

#include "oci/blobfile.h"
#include "oci/layout_index.h"
#include "ocicrypt/layer.h"
#include "util/mem.h"

PROP_DEFINE_AUTO(struct prop_layer_dec *, prop_layer_dec_free)

static int drop(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    (void)ctx, (void)data, (void)len, (void)err;
    return 0;
}

static int feed(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_layer_dec_update(ctx, data, len, err);
}

static int read_file(const char *layout, const struct prop_descriptor *layer,
                     struct prop_layer_dec *dec, struct prop_err *err)
{
    prop_auto_free char *path = prop_layout_blob_path(layout, &layer->digest);
    return path != NULL ? prop_blobfile_stream(path, layer->size, feed, dec, err)
                        : prop_err_nomem(err);
}

int prop_publish_layer_check(struct prop_src *src, const char *layout,
                             const struct prop_descriptor *layer, struct prop_openers *openers,
                             struct prop_digest *ret_plain, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *privopts = NULL;
    prop_auto_free char *pubopts = NULL;
    __attribute__((cleanup(prop_layer_dec_free_p))) struct prop_layer_dec *dec = NULL;
    struct prop_digest plain, stated = { .len = 0 };
    int rc = prop_openers_unwrap(openers, layer, &privopts, &pubopts, err);
    if (rc == 0)
        rc = prop_layer_dec_new(pubopts, privopts, drop, NULL, &dec, err);
    if (rc == 0)
        rc = src != NULL ? prop_src_blob(src, layer, feed, dec, err)
                         : read_file(layout, layer, dec, err);
    if (rc == 0)
        rc = prop_layer_dec_final(dec, &plain, &stated, err);
    if (rc == 0)
        rc = prop_layer_check_stated(layer, &plain, &stated, err);
    if (rc == 0)
        *ret_plain = plain;
    return rc;
}
