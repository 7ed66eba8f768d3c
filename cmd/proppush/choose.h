/* One image, where a name may stand for an index of several. */
#ifndef PROP_CMD_PROPPUSH_CHOOSE_H
#define PROP_CMD_PROPPUSH_CHOOSE_H

#include "crypto/digest.h"
#include "oci/image.h"
#include "util/buf.h"
#include "util/err.h"

/* The manifest of the image a source stands for; of an index and those inside it, the one for `platform`, or the only
 * one when that is NULL. `type` is owned. Fails: as prop_src_manifest and prop_src_child,
 * PROP_E_UNSUPPORTED (id "index") when there are several and none was asked for, PROP_E_NOTFOUND
 * (id "platform-not-found"), PROP_E_USAGE (id "not-an-index", "bad-platform"). */
int proppush_one_image(struct prop_src *src, const char *platform, struct prop_buf *bytes,
                       char **ret_type, struct prop_digest *ret_digest, struct prop_err *err);

#endif
