/* Is it really there? A key broker answers an upload with 200 and nothing else; a machine that can
 * attest fetches the value back and compares, any other can only say what was not proved. */
#ifndef PROP_CMD_PROPKEY_PROOF_H
#define PROP_CMD_PROPKEY_PROOF_H

#include "cmd/cli/kbs_opts.h"
#include "keys/resource_id.h"
#include "util/secret.h"

struct propkey_proof {
    enum prop_tee tee;   /* what to attest with; PROP_TEE_NONE = this machine cannot */
    const char *how;     /* "fetched": fetched and compared; "accepted": the answer was 200 */
    char text[512];      /* the same as a sentence, with why it was not fetched */
};

/* Before the upload: what this machine attests with. Without --tee (or PROP_TEE) that is the
 * hardware it has, if any; a --tee it has not is refused here, before anything is changed. */
int propkey_proof_prepare(struct prop_cli *cli, const struct prop_kbs_opts *o,
                          struct propkey_proof *ret, struct prop_err *err);
/* After the upload: prove it as far as the server allows.
 * Fails: PROP_E_REMOTE (id "not-stored") the server took it and does not have it; PROP_E_VERIFY (id
 * "stored-differently") it gives something else. */
int propkey_prove(struct prop_kbs *k, const struct prop_resource_id *id,
                  const struct prop_secret *value, struct propkey_proof *p, struct prop_err *err);
/* "proof" and "proof_text" into a result. */
int propkey_proof_add(const struct propkey_proof *p, json_t *doc, struct prop_err *err);

#endif
