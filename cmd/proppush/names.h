/* Destinations with several names: HOST/NAME:TAG,TAG. */
#ifndef PROP_CMD_PROPPUSH_NAMES_H
#define PROP_CMD_PROPPUSH_NAMES_H

#include "oci/ref.h"
#include "util/err.h"

#include <stddef.h>

struct proppush_names {
    struct prop_location first;
    struct prop_location *more; /* owned array */
    size_t n_more;
};
#define PROPPUSH_NAMES_INIT                                                                        \
    { { PROP_T_FILE, NULL, NULL, { NULL, NULL, NULL, { 0 } }, NULL }, NULL, 0 }
/* A comma is in no tag, so it parts them; names in a layout may hold one and are taken as they are.
 * Fails: as prop_location_parse, for the tag that is none. */
int proppush_names_read(const char *text, struct proppush_names *ret, struct prop_err *err);
void proppush_names_release(struct proppush_names *n);

/* The same place under another tag or name. PROP_E_USAGE where there are none. */
int proppush_rename(const char *text, const char *tag, struct prop_location *ret,
                    struct prop_err *err);

#endif
