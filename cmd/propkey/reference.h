/* Changing reference values: read, merge, post, read back, compare, under the ledger's lock so that
 * two processes of one machine do not lose each other's values. (Across machines nothing can
 * compare and set.) */
#ifndef PROP_CMD_PROPKEY_REFERENCE_H
#define PROP_CMD_PROPKEY_REFERENCE_H

#include "cmd/cli/kbs_opts.h"

struct propkey_reference_opts {
    struct prop_kbs_opts kbs;
    bool replace, dry_run, force_shape;
};

#define PROPKEY_REFERENCE_OPTIONS(type, member)                                                    \
    PROP_KBS_OPTIONS(type, member.kbs),                                                            \
    PROP_KBS_ADMIN_OPTIONS(type, member.kbs),                                                      \
    { "replace", 0, PROP_OPT_FLAG, NULL, "drop what is there, also other images' values",          \
      offsetof(type, member.replace), NULL, NULL, false },                                         \
    { "force-shape", 0, PROP_OPT_FLAG, NULL,                                                       \
      "any shape, for an attestation policy of your own",                                          \
      offsetof(type, member.force_shape), NULL, NULL, false },                                     \
    { "dry-run", 0, PROP_OPT_FLAG, NULL, "show what would change, change nothing",                 \
      offsetof(type, member.dry_run), NULL, NULL, false }

/* Bring `values` (an object name -> value) to the key broker and give the verb's result. Values
 * named in `may_stay` (NULL ends; may be NULL) are left as they are, with a warning, where another
 * one is there. Fails as prop_reference_check and prop_reference_merge; PROP_E_VERIFY (id
 * "reference-readback") the server gives something else back than was sent. */
int propkey_reference_apply(struct prop_cli *cli, const struct propkey_reference_opts *o,
                            const json_t *values, const char *const *may_stay,
                            struct prop_err *err);

#endif
