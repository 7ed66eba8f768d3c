/* How the ledger names an image: the same text for the same place, whatever was typed and wherever
 * the tool was started. */
#ifndef PROP_PUBLISH_REFERENCE_H
#define PROP_PUBLISH_REFERENCE_H

#include "oci/ref.h"
#include "util/err.h"

/* "docker://host/name:tag", "oci:/abs/folder:name", "oci-archive:/abs/file:name", "dir:/abs/dir"
 * (also when that is not there yet, but its parent is); other kinds as typed. Owned by the caller. */
int prop_publish_reference(const struct prop_location *loc, char **ret, struct prop_err *err);

#endif
