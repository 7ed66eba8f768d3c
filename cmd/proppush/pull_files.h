/* Layers into files. */
#ifndef PROP_CMD_PROPPUSH_PULL_FILES_H
#define PROP_CMD_PROPPUSH_PULL_FILES_H

#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

struct proppush_pull {
    const char *src, *dst; /* as typed */
    const char *digest, *platform; /* or NULL */
    bool force, encrypted, dry_run;
};
/* The one Wasm layer into the file `dst` ("-" = stdout). Fails: PROP_E_UNSUPPORTED (id
 * "encrypted-layer"), PROP_E_INPUT (id "not-wasm", "no-wasm-layer"), as proppush_one_image. */
int proppush_pull_module(const struct proppush_pull *p, const struct prop_oci_options *oci,
                         json_t **ret, struct prop_err *err);
/* Every layer with a title into the folder `dst`, made when absent. What would leave the folder is
 * refused before anything is written. Fails: PROP_E_DENIED (id "path-leaves"), PROP_E_INPUT (id
 * "no-titles", "same-title"), PROP_E_UNSUPPORTED (id "encrypted-layer"), PROP_E_EXISTS. */
int proppush_pull_folder(const struct proppush_pull *p, const struct prop_oci_options *oci,
                         json_t **ret, struct prop_err *err);

#endif
