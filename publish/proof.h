/* What lies at the destination is what was sent. */
#ifndef PROP_PUBLISH_PROOF_H
#define PROP_PUBLISH_PROOF_H

#include "publish/state.h"

/* Every image that was sent: its manifest read back by digest, each layer encrypted, there, open to
 * every recipient of the run, and decrypting to what was published; an index names these images and
 * no others. Of places that show nothing before they are named: the layers are there.
 * Fails: PROP_E_VERIFY (id "proof"), what reading fails with. */
int prop_publish_prove_images(struct prop_publish_state *s, struct prop_err *err);

#endif
