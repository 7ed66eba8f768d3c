/* What kbs-client's get-resource and attest share. */
#ifndef PROP_CMD_PROPKEY_KBS_CLIENT_GUEST_H
#define PROP_CMD_PROPKEY_KBS_CLIENT_GUEST_H

#include "crypto/pkey.h"

/* The private key of --tee-key-file, in the two forms that tool takes. The failure is printed. */
int propkey_kc_tee_key(const char *path, struct prop_pkey **ret);

#endif
