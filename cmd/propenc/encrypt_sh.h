/* The command line of CoCo's encrypt.sh (ocicrypt.md 8.3): -k B64KEY -i KID -s SRC -d DST. */
#ifndef PROP_CMD_PROPENC_ENCRYPT_SH_H
#define PROP_CMD_PROPENC_ENCRYPT_SH_H

#include "cmd/cli/cli.h"
#include "ocicrypt/recipient.h"

#include <stdbool.h>

/* What the script's flags say; -k is the same flag as --key. */
struct propenc_sh_opts {
    const char *kid, *src, *dst;
};
bool propenc_sh_given(const struct propenc_sh_opts *o);
/* The one recipient it asks for. `key` is base64 of 32 bytes, "@FILE" (raw or base64) or "-" for
 * standard input; the first form is warned about, since every process can read it.
 * Fails: PROP_E_USAGE (id "arguments" something is missing, or there is too much), PROP_E_INPUT (id
 * "kek-length"), what reading the key fails with. */
int propenc_sh_recipients(struct prop_cli *cli, const struct propenc_sh_opts *o,
                          const struct prop_strs *keys, struct prop_recipients **ret,
                          struct prop_err *err);

#endif
