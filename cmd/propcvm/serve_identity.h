/* Who a proplet is to its broker: names and key, from flags, from both generations of Propeller's
 * variables, from files, or from Propeller's config.toml (propeller.md 2.1). */
#ifndef PROP_CMD_PROPCVM_SERVE_IDENTITY_H
#define PROP_CMD_PROPCVM_SERVE_IDENTITY_H

#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

/* What flags said; NULL = nothing. */
struct propcvm_identity_opts {
    const char *tenant, *channel, *entity, *api_key_file, *config_file, *config_section;
};
struct propcvm_identity {
    const char *tenant, *channel, *entity; /* borrowed from the options, the environment or `section` */
    struct prop_secret *api_key;
    json_t *section;
};
/* Whatever is found nowhere else is looked for in the configuration file. Afterwards no key is in our
 * environment any more, nor in /proc/PID/environ.
 * Fails, exit status 1, in the words other proplets use: "config file '...' not accessible: ...",
 * "config section '...' not found in TOML file", "missing required proplet configuration: ...". */
int propcvm_identity_read(const struct propcvm_identity_opts *o, struct propcvm_identity *ret,
                          struct prop_err *err);
void propcvm_identity_release(struct propcvm_identity *i);

/* A variable of the first name that is set and not empty; NULL = none. */
const char *propcvm_env(const char *name, const char *older);

#endif
