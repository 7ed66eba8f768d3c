/* KEKs that no file was named for: asked from the key broker, or made and given to it. The
 * callbacks of struct prop_kek_supply; `ctx` is the struct propenc_recipient_opts. */
#ifndef PROP_CMD_PROPENC_RECIPIENT_KEK_H
#define PROP_CMD_PROPENC_RECIPIENT_KEK_H

#include "cmd/propenc/recipient_opts.h"

/* The KEK under `kid`, by attestation with --tee's evidence. 32 raw bytes or their base64.
 * Fails: PROP_E_USAGE (id "no-kbs"), PROP_E_UNSUPPORTED (id "no-tee"), what the key broker says. */
int propenc_kek_fetch(void *ctx, const struct prop_resource_id *kid, struct prop_secret **ret,
                      struct prop_err *err);

/* A new KEK, kept in the KEK store, uploaded where --kbs and an admin are given. An empty kid
 * becomes default/key/kek-<fingerprint>. Fails: PROP_E_EXISTS (id "kid-in-use"). */
int propenc_kek_generate(void *ctx, struct prop_resource_id *kid, struct prop_secret **ret,
                         struct prop_err *err);

/* The KEKs that were made and uploaded open this image: into the ledger, or a warning. */
void propenc_kek_note_image(const struct propenc_recipient_opts *o, const char *image,
                            const char *digest);

#endif
