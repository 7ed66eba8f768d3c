/* A verb's options as a JSON object, and back: how a command line is kept in the journal. Options are
 * walked by their table, so that a new one is kept without a word here. */
#ifndef PROP_CMD_PROPPUSH_KEPT_OPTS_H
#define PROP_CMD_PROPPUSH_KEPT_OPTS_H

#include "cmd/cli/cli.h"

/* Every option that has a value, by name, but for those in `not_these` (ends with NULL). Owned. */
int proppush_opts_keep(const struct prop_opt *table, const void *opts,
                       const char *const *not_these, json_t **ret, struct prop_err *err);

/* Set the options that `kept` (which must outlive them) has, except those in `own` that were given on
 * this command line: of these the values stay. */
int proppush_opts_restore(struct prop_cli *cli, const struct prop_opt *table, const json_t *kept,
                          const char *const *own, void *opts, struct prop_err *err);

#endif
