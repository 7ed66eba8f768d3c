#include "publish/reference.h"

#include "util/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The absolute path of what may not be there yet: then its folder's, which is. NULL: neither. */
static char *absolute(const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real) != NULL)
        return prop_strdup(real);
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t len = slash == path ? 1 : slash != NULL ? (size_t)(slash - path) : 0;
    prop_auto_free char *dir = slash == NULL ? prop_strdup(".") : prop_strndup(path, len);
    if (dir == NULL || *name == 0 || realpath(dir, real) == NULL)
        return NULL;
    return prop_asprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
}

static const char *local_scheme(enum prop_transport transport)
{
    if (transport == PROP_T_OCI)
        return "oci";
    if (transport == PROP_T_OCI_ARCHIVE)
        return "oci-archive";
    return transport == PROP_T_DIR ? "dir" : NULL;
}

int prop_publish_reference(const struct prop_location *loc, char **ret, struct prop_err *err)
{
    const char *scheme = local_scheme(loc->transport);
    prop_auto_free char *path = scheme != NULL ? absolute(loc->path) : NULL;
    char *text = NULL;
    if (loc->transport == PROP_T_DOCKER) {
        prop_auto_free char *ref = prop_ref_format(&loc->ref);
        text = ref != NULL ? prop_asprintf("docker://%s", ref) : NULL;
    } else if (path != NULL) {
        text = prop_asprintf("%s:%s%s%s", scheme, path, loc->name != NULL ? ":" : "",
                             loc->name != NULL ? loc->name : "");
    } else {
        text = prop_strdup(loc->text);
    }
    if (text == NULL)
        return prop_err_nomem(err);
    *ret = text;
    return 0;
}
