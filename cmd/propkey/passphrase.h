/* A passphrase: from a file, a descriptor, or typed at the controlling terminal; never in argv. */
#ifndef PROP_CMD_PROPKEY_PASSPHRASE_H
#define PROP_CMD_PROPKEY_PASSPHRASE_H

#include "cmd/cli/cli.h"
#include "util/secret.h"

#include <stdbool.h>

struct propkey_pass_opts {
    const char *file;
    const char *fd;
};

#define PROPKEY_PASS_OPTIONS(type, member)                                                         \
    { "passphrase-file", 0, PROP_OPT_STRING, "FILE", "the passphrase is the first line of FILE",   \
      offsetof(type, member.file), NULL, NULL, false },                                            \
    { "passphrase-fd", 0, PROP_OPT_STRING, "N", "... or what descriptor N gives",                  \
      offsetof(type, member.fd), NULL, NULL, false }

/* The passphrase without its line end. `twice`: typed a second time, for something new.
 * Fails: PROP_E_USAGE (id "no-passphrase") nowhere to get one from, (id "empty-passphrase"),
 * (id "passphrases-differ"); PROP_E_DENIED a file that others can read. */
int propkey_passphrase(const struct propkey_pass_opts *o, bool twice, struct prop_secret **ret,
                       struct prop_err *err);

#endif
