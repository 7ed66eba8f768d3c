/* Propeller's variables for what is no credential (propeller.md 2.1): numbers that do not parse keep
 * the default, truth values are 1, true, yes, on. */
#ifndef PROP_CMD_PROPCVM_SERVE_SETTINGS_H
#define PROP_CMD_PROPCVM_SERVE_SETTINGS_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `flag` where it was given (then it must be a number from `min` to `max`: PROP_E_USAGE), else the
 * variable, else `def`. ret_ignored (may be NULL) is set when the variable is set and no such number. */
int propcvm_number(const char *flag, const char *name, const char *variable, uint64_t min, uint64_t max,
                   uint64_t def, uint64_t *ret, bool *ret_ignored, struct prop_err *err);
bool propcvm_truth(const char *variable, bool def);
/* Cut `text` at `separator` into an array of its own (prop_free, as well as *ret_copy); empty parts are
 * left out. */
int propcvm_split(const char *text, char separator, char **ret_copy, const char ***ret, size_t *ret_n,
                  struct prop_err *err);
/* Variables of other proplets that are set and have no effect here: `say` is told of each and why. */
void propcvm_say_ignored(void (*say)(void *ctx, const char *variable, const char *why), void *ctx);

#endif
