/* Inside the oci room: writing a manifest to a registry. */
#ifndef PROP_OCI_REGISTRY_PUT_H
#define PROP_OCI_REGISTRY_PUT_H

#include "crypto/digest.h"
#include "oci/session.h"
#include "util/err.h"

#include <stddef.h>

struct prop_registry_put {
    const char *name; /* digest or tag */
    const void *bytes;
    size_t len;
    const char *media_type;
    const struct prop_digest *digest;
};
/* PUT it into repository `path`. A refusal that says a blob is not there is asked again, shortly. */
int prop_registry_put_manifest(struct prop_session *s, const char *path, const char *scope,
                               const struct prop_registry_put *m, struct prop_err *err);

/* Did the answer accept what was sent, under this digest? `what` names it in errors. */
int prop_registry_committed(const struct prop_session *s, const struct prop_http_answer *a,
                            const struct prop_digest *digest, const char *what,
                            struct prop_err *err);

#endif
