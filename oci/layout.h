/* OCI layouts beyond the common interface. */
#ifndef PROP_OCI_LAYOUT_H
#define PROP_OCI_LAYOUT_H

#include "util/err.h"
#include "util/json.h"

/* The names of a layout, sorted, as a new JSON array. */
int prop_layout_names(const char *dir, json_t **ret, struct prop_err *err);

#endif
