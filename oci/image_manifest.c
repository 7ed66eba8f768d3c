#include "oci/image_manifest.h"

#include "util/limits.h"
#include "util/mem.h"

int prop_image_manifest(struct prop_src *src, const char *what, struct prop_manifest *ret,
                        char **ret_type, struct prop_digest *ret_digest, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    struct prop_digest digest;
    int rc = prop_src_manifest(src, &bytes, &type, &digest, err);

    if (rc == 0)
        rc = prop_manifest_parse(bytes.data, bytes.len, type, what, ret, err);
    if (rc < 0)
        return rc;
    if (ret_type != NULL)
        *ret_type = PROP_TAKE(type);
    if (ret_digest != NULL)
        *ret_digest = digest;
    return 0;
}
