/* Uploading a resource policy: parsed here first, never wider by accident, remembered. */
#ifndef PROP_CMD_PROPKEY_POLICY_UPLOAD_H
#define PROP_CMD_PROPKEY_POLICY_UPLOAD_H

#include "cmd/cli/kbs_opts.h"

struct propkey_policy_opts {
    struct prop_kbs_opts kbs;
    bool allow_wider, dry_run;
};

#define PROPKEY_POLICY_OPTIONS                                                                     \
    PROP_KBS_OPTIONS(struct propkey_policy_opts, kbs),                                             \
    PROP_KBS_ADMIN_OPTIONS(struct propkey_policy_opts, kbs),                                       \
    { "dry-run", 0, PROP_OPT_FLAG, NULL, "check everything here, upload nothing",                  \
      offsetof(struct propkey_policy_opts, dry_run), NULL, NULL, false }

/* Upload `rego` as the one policy of the key broker and print the result. `name` says where the
 * text comes from; `may_widen`: the user said that more may be let in.
 * Fails: PROP_E_INPUT (id "rego-syntax"); PROP_E_USAGE (id "policy-wider") without may_widen,
 * unless the text denies everybody or is the last one uploaded from here. */
int propkey_policy_upload(struct prop_cli *cli, const struct propkey_policy_opts *o,
                          const char *name, const char *rego, size_t len, bool may_widen,
                          struct prop_err *err);

#endif
