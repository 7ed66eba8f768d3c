/* Registries beyond the common interface: logging in, tags. */
#ifndef PROP_OCI_REGISTRY_H
#define PROP_OCI_REGISTRY_H

#include "oci/image.h"
#include "oci/session.h"
#include "util/err.h"
#include "util/json.h"

/* GET /v2/ with the whole token flow: are the session's credentials good?
 * Fails: PROP_E_AUTH, PROP_E_NOTFOUND (id "not-a-registry"), network codes. */
int prop_registry_ping(struct prop_session *s, struct prop_err *err);

/* All tags of a repository, sorted as the registry sends them, as a new JSON array. */
int prop_registry_tags(const struct prop_ref *ref, const struct prop_oci_options *opts,
                       json_t **ret, struct prop_err *err);

/* --- inside the room --- */

/* "repository:<path>:<actions>"; NULL when memory is out. */
char *prop_registry_scope(const char *path, const char *actions);
/* GET a manifest by tag or digest; `said` is its Content-Type (owned, may be NULL). */
int prop_registry_manifest(struct prop_session *s, const char *path, const char *scope,
                           const char *reference, struct prop_buf *out, char **ret_said,
                           struct prop_err *err);
/* Where a list goes on: the URL of `Link: <...>; rel="next"`, resolved, in place of `*url`; NULL when
 * this was the last page. Another server is refused (PROP_E_REMOTE, id "foreign-location"). */
int prop_registry_next_page(const struct prop_session *s, const struct prop_http_answer *a,
                            char **url, struct prop_err *err);
/* What stands behind the name of a reference: the digest, else the tag; `buf` holds a digest. */
const char *prop_ref_target(const struct prop_ref *ref, char buf[PROP_DIGEST_TEXT]);
extern const char *const prop_registry_accept[];

#endif
