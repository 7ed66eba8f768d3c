/* A published image withdrawn: its name or manifest, and on request its key. */
#ifndef PROP_PUBLISH_WITHDRAW_H
#define PROP_PUBLISH_WITHDRAW_H

#include "kbs/kbs.h"
#include "oci/image.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

struct prop_withdraw {
    const struct prop_location *ref;
    const struct prop_digest *digest;  /* what it must stand for; NULL = not said */
    const struct prop_oci_options *oci;
    struct prop_kbs *kbs;              /* NULL = keys stay */
    const char *ledger;                /* file; NULL = the usual place */
    bool all_tags;                     /* tags of the same manifest may go with it */
    bool dry_run;
    void (*warn)(void *ctx, const char *text); /* may be NULL */
    void *ctx;
};

/* Delete the tag, or where the registry deletes manifests only the manifest, unless other tags stand
 * for it too; of a layout the name. Then each key of the image that no other image this machine
 * knows of needs. ret: {"reference","digest","deleted":"tag"|"manifest"|"name","tags":[others that
 * went with it],"keys":[{"path","deleted"}],"left":[text...]}; with dry_run also "dry_run":true.
 * Fails: PROP_E_EXISTS (id "tags-share") other tags would go too; PROP_E_UNSUPPORTED (id
 * "delete-unsupported"); PROP_E_NOTFOUND; PROP_E_USAGE (id "bad-location") a folder or an archive;
 * what registry and KBS fail with. */
int prop_withdraw_run(const struct prop_withdraw *w, json_t **ret, struct prop_err *err);

#endif
