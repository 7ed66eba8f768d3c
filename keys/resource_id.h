/* Names of key-broker resources (kbs.md 3): "repo/type/tag" and kbs:///repo/type/tag. */
#ifndef PROP_KEYS_RESOURCE_ID_H
#define PROP_KEYS_RESOURCE_ID_H

#include "util/err.h"

#include <stdbool.h>

#define PROP_RESOURCE_PART 256

struct prop_resource_id {
    char host[PROP_RESOURCE_PART];  /* "" = the configured KBS; may hold ":port" */
    char repo[PROP_RESOURCE_PART];
    char type[PROP_RESOURCE_PART];
    char tag[PROP_RESOURCE_PART];
};

/* "repo/type/tag", "kbs:///repo/type/tag", "kbs://host[:port]/repo/type/tag", and the older
 * "/r/t/n" and "host/r/t/n" only with allow_old (ocicrypt.md 8.2: packets on the wire).
 * Each part matches [A-Za-z0-9_-][A-Za-z0-9_.-]*. A query is refused.
 * Fails: PROP_E_INPUT (id "bad-resource-path"). */
int prop_resource_id_parse(const char *text, bool allow_old, struct prop_resource_id *ret,
                           struct prop_err *err);
/* "repo/type/tag" and "kbs:///repo/type/tag" into fresh memory; NULL when memory is out. */
char *prop_resource_id_path(const struct prop_resource_id *id);
char *prop_resource_id_uri(const struct prop_resource_id *id);
/* Same repo, type and tag (host not looked at). */
bool prop_resource_id_same(const struct prop_resource_id *a, const struct prop_resource_id *b);

#endif
