/* The bytes evidence is bound to (kbs.md 2.4), shared by the KBS client and the development KBS:
 * H(JCS({"additional-evidence":A,"nonce":N,"tee-pubkey":K})), SHA-384 for every TEE in use here. */
#ifndef PROP_TEE_BINDING_H
#define PROP_TEE_BINDING_H

#include "crypto/digest.h"
#include "util/err.h"
#include "util/json.h"

/* `tee_pubkey` holds only the members that count (kbs.md 2.4); `additional_evidence` is the string
 * exactly as sent, or NULL for a device's own digest (the member is left out then). */
int prop_tee_report_data(const char *nonce, const json_t *tee_pubkey,
                         const char *additional_evidence, struct prop_digest *ret,
                         struct prop_err *err);

#endif
