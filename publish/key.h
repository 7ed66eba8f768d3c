/* The KEK and its name: chosen, kept on disk, given to the KBS, taken back. */
#ifndef PROP_PUBLISH_KEY_H
#define PROP_PUBLISH_KEY_H

#include "publish/state.h"

/* Read or generate the KEK (in memory), settle its name. A KEK and name that were adopted from the
 * present image stay. */
int prop_publish_key_choose(struct prop_publish_state *s, struct prop_err *err);
/* Is the name free, as far as this machine and the destination can tell? PROP_E_EXISTS (id
 * "kid-in-use"). With the tee option it also looks whether the KBS holds the key already. */
int prop_publish_key_check(struct prop_publish_state *s, struct prop_err *err);
/* Keep a generated KEK on disk, synced. */
int prop_publish_key_keep(struct prop_publish_state *s, struct prop_err *err);
/* Give it to the KBS and remember that; under the ledger's lock. */
int prop_publish_key_send(struct prop_publish_state *s, struct prop_err *err);
/* The name points at the image now: in the ledger too. */
int prop_publish_key_named(struct prop_publish_state *s, struct prop_err *err);

/* The kids that name a KEK in a layer: new array of strings, owned; none when its annotations
 * cannot be read. */
int prop_publish_layer_kids(const struct prop_descriptor *layer, json_t **ret,
                            struct prop_err *err);
/* Names ("r/t/n") of the key broker's keys that open a layer, added to `paths` unless they are there;
 * a plain layer has none. *ret_n (may be NULL): how many open it. */
int prop_publish_layer_paths(const struct prop_descriptor *layer, json_t *paths, size_t *ret_n,
                             struct prop_err *err);
/* Settle `text` ("r/t/n" or a kbs:// address) as the name. */
int prop_publish_key_name(struct prop_publish_state *s, const char *text, struct prop_err *err);

#endif
