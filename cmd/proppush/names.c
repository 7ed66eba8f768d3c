/* Names of what is pushed: one or several tags of a repository. */
#include "cmd/proppush/names.h"

#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define TAGS_MAX 64

/* The comma after the first tag; NULL when there is one name or none can be parted. */
static const char *first_comma(const char *text)
{
    const char *slash = strrchr(text, '/');
    const char *colon = slash != NULL ? strchr(slash, ':') : NULL;

    if (colon == NULL || prop_starts_with(text, "oci:") || prop_starts_with(text, "oci-archive:") ||
        prop_starts_with(text, "dir:") || text[0] == '/' || text[0] == '.')
        return NULL;
    return strchr(colon, ',');
}

int proppush_rename(const char *text, const char *tag, struct prop_location *ret,
                    struct prop_err *err)
{
    struct prop_location loc;
    prop_auto_free char *renamed = NULL;
    int rc = prop_location_parse(text, &loc, err);

    if (rc < 0)
        return rc;
    if (loc.transport == PROP_T_DOCKER)
        renamed = prop_asprintf("docker://%s/%s:%s", loc.ref.domain, loc.ref.path, tag);
    else if (loc.transport == PROP_T_OCI)
        renamed = prop_asprintf("oci:%s:%s", loc.path, tag);
    else
        rc = prop_err_set(err, PROP_E_USAGE, "'%s' has no tags", text);
    prop_location_release(&loc);
    if (rc < 0)
        return rc;
    return renamed == NULL ? prop_err_nomem(err) : prop_location_parse(renamed, ret, err);
}

static int read_more(const char *base, const char *list, struct proppush_names *n,
                     struct prop_err *err)
{
    n->more = prop_realloc_array(NULL, TAGS_MAX, sizeof(*n->more));
    if (n->more == NULL)
        return prop_err_nomem(err);
    while (list != NULL) {
        size_t len = strcspn(list, ",");
        prop_auto_free char *tag = prop_strndup(list, len);
        int rc;

        if (tag == NULL)
            return prop_err_nomem(err);
        if (n->n_more == TAGS_MAX)
            return prop_err_set(err, PROP_E_LIMIT, "there are more than %d tags", TAGS_MAX);
        if (len == 0)
            return prop_err_set_id(err, PROP_E_INPUT, "bad-reference", "a tag is empty");
        rc = proppush_rename(base, tag, &n->more[n->n_more], err);
        if (rc < 0)
            return rc;
        n->n_more++;
        list = list[len] == ',' ? list + len + 1 : NULL;
    }
    return 0;
}

int proppush_names_read(const char *text, struct proppush_names *ret, struct prop_err *err)
{
    const char *comma = first_comma(text);
    prop_auto_free char *base = comma != NULL ? prop_strndup(text, (size_t)(comma - text)) : NULL;
    struct proppush_names n = PROPPUSH_NAMES_INIT;
    int rc;

    if (comma != NULL && base == NULL)
        return prop_err_nomem(err);
    rc = prop_location_parse(base != NULL ? base : text, &n.first, err);
    if (rc == 0 && comma != NULL)
        rc = read_more(base, comma + 1, &n, err);
    if (rc < 0) {
        proppush_names_release(&n);
        return rc;
    }
    *ret = n;
    return 0;
}

void proppush_names_release(struct proppush_names *n)
{
    for (size_t i = 0; i < n->n_more; i++)
        prop_location_release(&n->more[i]);
    prop_free(n->more);
    n->more = NULL;
    n->n_more = 0;
    prop_location_release(&n->first);
}
