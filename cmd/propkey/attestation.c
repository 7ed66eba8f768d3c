/* Options of the attesting verbs. */
#include "cmd/propkey/attestation.h"

#include "keys/keyfile.h"
#include "util/file.h"

#include <string.h>

int propkey_attest_read(const struct prop_kbs_opts *kbs, const struct propkey_attest_opts *o,
                        struct prop_kbs_attest *ret, struct prop_pkey **ret_key,
                        struct prop_buf *init_data, struct prop_err *err)
{
    struct prop_kbs_attest how = { .tee = PROP_TEE_NONE };
    int rc = prop_kbs_opts_tee(kbs, &how.tee, err);
    if (rc == 0 && o->init_data) {
        rc = prop_file_read(o->init_data, init_data, err);
        if (rc == 0 && memchr(prop_buf_str(init_data), 0, init_data->len))
            rc = prop_err_set(err, PROP_E_INPUT, "'%s' is not text", o->init_data);
        how.init_data = prop_buf_str(init_data);
    }
    if (rc == 0 && o->tee_key)
        rc = prop_keyfile_private(o->tee_key, NULL, ret_key, NULL, err);
    if (rc < 0)
        return rc;
    how.tee_key = *ret_key;
    *ret = how;
    return 0;
}
