/* What the verbs share: sources as typed, and registry hosts. */
#include "cmd/proppush/verbs.h"

#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define auto_location __attribute__((cleanup(prop_location_release)))
#define LOCATION_INIT { PROP_T_FILE, NULL, NULL, { NULL, NULL, NULL, { 0 } }, NULL }

int proppush_open_src(const char *text, const char *digest, const struct prop_oci_options *oci,
                      struct prop_src **ret, struct prop_err *err)
{
    auto_location struct prop_location loc = LOCATION_INIT;
    prop_auto_src struct prop_src *src = NULL;
    struct prop_digest want;
    int rc = prop_location_parse(text, &loc, err);

    if (rc == 0)
        rc = prop_src_open(&loc, oci, &src, err);
    if (rc == 0 && digest != NULL) {
        rc = prop_digest_parse(digest, &want, err);
        if (rc < 0)
            return prop_err_wrap(err, "--digest");
        rc = prop_src_expect(src, &want, err);
    }
    if (rc < 0)
        return rc;
    *ret = PROP_TAKE(src);
    return 0;
}

int proppush_read_host(const char *text, char **ret, struct prop_err *err)
{
    prop_auto_free char *probe = prop_asprintf("%s/x", text);
    struct prop_ref ref = { 0 };
    bool named;

    if (probe == NULL)
        return prop_err_nomem(err);
    named = prop_ref_parse(probe, &ref, NULL) == 0 && strchr(text, '/') == NULL &&
            (strcmp(ref.domain, text) == 0 || strcmp(text, "index.docker.io") == 0);
    if (named)
        *ret = prop_strdup(ref.domain);
    prop_ref_release(&ref);
    if (named)
        return *ret == NULL ? prop_err_nomem(err) : 0;
    prop_err_set_id(err, PROP_E_USAGE, "bad-host", "'%s' is no registry host", text);
    return prop_err_hint(err, "write HOST or HOST:PORT, without https:// and without a path");
}
