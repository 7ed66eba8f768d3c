/* What GitHub Actions shows and hands on: annotations, step outputs, the job's summary. Everywhere
 * else (GITHUB_ACTIONS is not "true") these do nothing. */
#ifndef PROP_CMD_PROPPUSH_ACTIONS_H
#define PROP_CMD_PROPPUSH_ACTIONS_H

#include "cmd/cli/cli.h"

/* A line on stderr that the runner turns into an annotation. */
void proppush_actions_warning(const char *title, const char *text);
/* The failure of a verb, as prop_cli_main reports it after this. */
void proppush_actions_error(const char *title, const struct prop_err *err);
/* Append the members (strings of `doc`) to $GITHUB_OUTPUT, a table of them to $GITHUB_STEP_SUMMARY.
 * What cannot be written is warned of: the publish itself is done. */
void proppush_actions_outputs(struct prop_cli *cli, const char *title, const json_t *doc,
                              const char *const *members, size_t n);

#endif
