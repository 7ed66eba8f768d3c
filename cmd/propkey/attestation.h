/* What the attesting verbs (get, attest) are told: TEE, TEE key, init-data. */
#ifndef PROP_CMD_PROPKEY_ATTESTATION_H
#define PROP_CMD_PROPKEY_ATTESTATION_H

#include "cmd/cli/kbs_opts.h"
#include "util/buf.h"

struct propkey_attest_opts {
    const char *tee_key;
    const char *init_data;
};

#define PROPKEY_ATTEST_OPTIONS(type, member)                                                       \
    { "tee-key", 0, PROP_OPT_STRING, "FILE", "private key of the TEE; without it, a fresh one",    \
      offsetof(type, member) + offsetof(struct propkey_attest_opts, tee_key), NULL, NULL, false }, \
    { "init-data", 0, PROP_OPT_STRING, "FILE", "TOML document to send as init-data",               \
      offsetof(type, member) + offsetof(struct propkey_attest_opts, init_data), NULL, NULL, false }

/* Read key and init-data. ret->tee_key is `*ret_key` (owned by the caller), ret->init_data is
 * `init_data`'s text (borrowed from that buffer). */
int propkey_attest_read(const struct prop_kbs_opts *kbs, const struct propkey_attest_opts *o,
                        struct prop_kbs_attest *ret, struct prop_pkey **ret_key,
                        struct prop_buf *init_data, struct prop_err *err);

#endif
