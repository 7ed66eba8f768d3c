/* Running a key provider that is a program (ocicrypt.md 6.3, exec). */
#ifndef PROP_KEYPROVIDER_PROGRAM_H
#define PROP_KEYPROVIDER_PROGRAM_H

#include "util/err.h"
#include "util/secret.h"

#include <stdint.h>

/* Long enough for a provider that asks somebody for a PIN. */
#define PROP_KP_PROGRAM_MS 300000u

/* Run argv (argv[0] is looked for in PATH when it has no slash; no shell) with our environment and
 * folder and no descriptor but its three: `input` on stdin, then its end. ret_output is what came
 * on stdout, at most PROP_KP_LIMIT_MESSAGE bytes, once the program ended with exit 0; a child of
 * its own that still holds the pipes is not waited for. At the deadline or a stop it is killed.
 * Fails: PROP_E_REMOTE (id "provider-failed") with the program's words, PROP_E_NETWORK (id
 * "provider-timeout"), PROP_E_NOTFOUND (id "provider-missing") no such program,
 * PROP_E_INTERRUPTED. */
int prop_kp_program_run(const char *const *argv, const struct prop_secret *input,
                        uint64_t timeout_ms, struct prop_secret **ret_output, struct prop_err *err);

#endif
