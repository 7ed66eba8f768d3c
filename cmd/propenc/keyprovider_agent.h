/* What `propenc keyprovider` does for a request: attestation-agent packets, as coco_keyprovider
 * makes them and the Confidential Data Hub opens them, but no key is ever lost silently. */
#ifndef PROP_CMD_PROPENC_KEYPROVIDER_AGENT_H
#define PROP_CMD_PROPENC_KEYPROVIDER_AGENT_H

#include "kbs/kbs.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>

struct propenc_agent {
    struct prop_kbs *kbs;        /* the only key broker that is ever asked; NULL = none. Owned */
    bool may_upload;             /* it was given with an administrator's key */
    enum prop_tee tee;           /* to fetch keys with; NONE: this machine cannot */
    struct prop_secret **keks;   /* --kek; owned */
    size_t n_keks;
    bool allow_ctr, replace_key;
};
void propenc_agent_release(struct propenc_agent *a);
/* Read a KEK file for unwrapping. */
int propenc_agent_add_kek(struct propenc_agent *a, const char *path, struct prop_err *err);

/* struct prop_kp_provider's two functions; ctx is a struct propenc_agent.
 *
 * wrap: PARAMS as coco_keyprovider takes them (ocicrypt.md 8.2). The KEK is `keypath`'s; without it
 * the one this machine keeps for `keyid` (ledger and KEK folder), or the key broker gives out, or a
 * fresh one, which is kept and uploaded before anything is wrapped with it.
 * Fails: PROP_E_USAGE (id "keyprovider-params", "kid-host", "bad-recipient"), PROP_E_NOTFOUND (id
 * "no-kek"), PROP_E_EXISTS (id "kid-in-use"), PROP_E_DENIED (id "public-kek"), what the broker
 * fails with. */
int propenc_agent_wrap(void *ctx, const char *const *params, size_t n_params,
                       const struct prop_secret *privopts, struct prop_buf *out,
                       struct prop_err *err);
/* unwrap: with --kek, else the KEK kept for the packet's kid, else through attestation.
 * Fails: PROP_E_DENIED (id "a256ctr-refused", "foreign-kbs"), PROP_E_VERIFY (id "kek-wrong"),
 * PROP_E_NOTFOUND (id "no-kek"), what the broker fails with. */
int propenc_agent_unwrap(void *ctx, const char *const *params, size_t n_params,
                         const void *annotation, size_t len, struct prop_secret **ret,
                         struct prop_err *err);

#endif
