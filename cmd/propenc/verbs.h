/* The verbs of propenc, one file each. */
#ifndef PROP_CMD_PROPENC_VERBS_H
#define PROP_CMD_PROPENC_VERBS_H

#include "cmd/cli/cli.h"
#include "oci/manifest.h"

extern const struct prop_verb propenc_verb_encrypt;
extern const struct prop_verb propenc_verb_decrypt;
extern const struct prop_verb propenc_verb_inspect;
extern const struct prop_verb propenc_verb_rewrap;
extern const struct prop_verb propenc_verb_keyprovider;

/* What each layer of an image tells without a key: array of prop_layer_describe's objects, owned.
 * ret_encrypted: how many are encrypted, with an owner and a cipher, not by their type alone. */
int propenc_describe_layers(const struct prop_manifest *m, json_t **ret, size_t *ret_encrypted,
                            struct prop_err *err);

#endif
