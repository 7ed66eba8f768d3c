/* Referrers: artifacts whose manifest names another one as its subject (registry.md 2.6). */
#ifndef PROP_OCI_REFERRERS_H
#define PROP_OCI_REFERRERS_H

#include "crypto/digest.h"
#include "oci/image.h"
#include "oci/ref.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#define PROP_REFERRERS_TAG 100 /* bytes of a fallback tag's text */

/* "sha256-<hex>", the tag that lists the referrers where the registry does not. Returns out. */
const char *prop_referrers_tag(const struct prop_digest *subject, char out[PROP_REFERRERS_TAG]);

/* A manifest that was put into the repository of `ref` by its digest: see that it is found by its
 * subject. A registry says in its answer (OCI-Subject) when it does that itself; for others the
 * fallback tag's index gets an entry, and `ret_tag` its name (owned; NULL otherwise). Without a
 * subject nothing is asked. Nobody can lock that index: it is read back, and written again when
 * somebody else's write came between.
 * Fails: PROP_E_INPUT (the subject is malformed), PROP_E_REMOTE (id "referrers-race"), network
 * codes. */
int prop_referrers_announce(const struct prop_ref *ref, const struct prop_oci_options *opts,
                            const struct prop_buf *manifest, const char *media_type,
                            char **ret_tag, struct prop_err *err);

enum prop_referrers_way { PROP_REFERRERS_API, PROP_REFERRERS_TAGGED, PROP_REFERRERS_LAYOUT };

/* Who refers to `subject`, as a new array of descriptors; `artifact_type` NULL = of any type.
 * ret_way: who told. None at all is an empty array. */
int prop_referrers_list(const struct prop_ref *ref, const struct prop_oci_options *opts,
                        const struct prop_digest *subject, const char *artifact_type,
                        json_t **ret, enum prop_referrers_way *ret_way, struct prop_err *err);
/* The same for a layout folder, whose manifests are read one by one. */
int prop_layout_referrers(const char *dir, const struct prop_digest *subject,
                          const char *artifact_type, json_t **ret, struct prop_err *err);

#endif
