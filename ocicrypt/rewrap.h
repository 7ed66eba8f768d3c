/* Other recipients for an encrypted image by rewriting its manifest: no byte of a layer is read or
 * moved, pubopts and blobs stay as they are (ocicrypt.md 2, 11). */
#ifndef PROP_OCICRYPT_REWRAP_H
#define PROP_OCICRYPT_REWRAP_H

#include "oci/image.h"
#include "ocicrypt/recipient.h"
#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>

struct prop_rewrap_options {
    struct prop_openers *openers;         /* what opens the layers today; NULL = only removing */
    const struct prop_recipients *add;    /* who is to open them too, or NULL */
    bool replace;                         /* nobody but `add` is to open them */
    /* Who is to be taken out: "kbs:///r/t/n" (a packet's kid), "kid:K" or "thumb:T" (a JWE
     * recipient's kid), a scheme ("jwe", "pkcs7", "provider.NAME") for all of its recipients. */
    const char *const *remove;
    size_t n_remove;
    /* Of an index only the images for these ("os/arch[/variant]"); the others stay as they are. */
    const char *const *platforms;
    size_t n_platforms;
    bool dry_run; /* to a sink: work out what would be written, and move no blob */
};
struct prop_rewrap_result {
    struct prop_digest before, manifest; /* equal when nothing had to change */
    size_t layers;                       /* encrypted ones */
    size_t plain;                        /* the others of these images: readable to everybody */
    size_t added, removed;               /* recipients, counted over the layers */
};
/* Rewrite every encrypted layer's annotations and put the new manifest by digest; the name is NOT
 * given (prop_dst_tag). Within one repository, layout or folder only the manifest is written; to
 * another place blobs are copied as they are. Each layer is unwrapped with the openers before and,
 * for recipients whose key is at hand, after. A recipient that is there already is not added twice
 * (packets: same kid and KEK; JWE: same kid; others: the same bytes). An index is rewritten image by
 * image. Fails: PROP_E_INPUT (id "not-encrypted"), PROP_E_USAGE (id "no-recipient": nobody could
 * open the layer any more; "recipient-unknown": `remove` names nobody; "no-key": additions without
 * openers; "kid-taken": a packet of an added kid stays that another KEK opens), PROP_E_NOTFOUND (id
 * "platform-not-found"), what unwrapping fails with. */
int prop_image_rewrap(struct prop_src *src, struct prop_dst *dst,
                      const struct prop_rewrap_options *o, struct prop_rewrap_result *ret,
                      struct prop_err *err);

#endif
