/* The tar of one module: entry 'module.wasm', mode 0644, owner and time 0. */
#include "oci/module_tar.h"

#include "archive/tar.h"
#include "util/limits.h"

uint64_t prop_module_tar_size(uint64_t size)
{
    return prop_tar_size_of_one(size);
}

static int to_tar(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_tar_out_write(ctx, data, len, err);
}

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

int prop_module_tar_stream(struct prop_src *bare, prop_sink_fn sink, void *ctx,
                           struct prop_err *err)
{
    prop_auto_tar_out struct prop_tar_out *tar = NULL;
    prop_auto_buf struct prop_buf held = PROP_BUF_INIT(PROP_LIMIT_WASM_MODULE);
    uint64_t size = prop_src_bare_size(bare);
    bool pipe = size == UINT64_MAX;
    int rc = pipe ? prop_src_bare_read(bare, collect, &held, err) : 0;

    if (pipe)
        size = held.len;
    if (rc == 0 && size > PROP_MODULE_TAR_SIZE_MAX)
        rc = prop_err_set(err, PROP_E_LIMIT, "a module of 8 GiB or more does not fit a tar entry");
    if (rc == 0)
        rc = prop_tar_out_new_sink(sink, ctx, &tar, err);
    if (rc == 0)
        rc = prop_tar_out_file(tar, PROP_MODULE_TAR_NAME, size, err);
    if (rc == 0)
        rc = pipe ? to_tar(tar, held.data, held.len, err)
                  : prop_src_bare_read(bare, to_tar, tar, err);
    return rc == 0 ? prop_tar_out_end(tar, err) : rc;
}
