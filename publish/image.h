/* The image's way: encrypted while it is uploaded, read back and proved, named last. */
#ifndef PROP_PUBLISH_IMAGE_H
#define PROP_PUBLISH_IMAGE_H

#include "publish/state.h"

/* Encrypt into the destination and put the manifest by digest; no name is given. */
int prop_publish_image_send(struct prop_publish_state *s, struct prop_err *err);
/* What an earlier process of this run sent, if it is still there: then image_sent, and it can be
 * named. */
int prop_publish_image_sent(struct prop_publish_state *s, struct prop_err *err);
/* What lies at the destination is what was sent, every layer is encrypted and opens with the key;
 * the KBS gives that key to a guest, where this machine can be one; the policy decides as planned. */
int prop_publish_prove(struct prop_publish_state *s, struct prop_err *err);
/* Did nobody else move the name since the run began? tag_moved: an earlier process of it did.
 * PROP_E_EXISTS (id "tag-changed"). */
int prop_publish_image_unmoved(struct prop_publish_state *s, struct prop_err *err);
/* Move the name. PROP_E_EXISTS (id "tag-changed") when somebody else moved it since we began. */
int prop_publish_image_tag(struct prop_publish_state *s, struct prop_err *err);

#endif
