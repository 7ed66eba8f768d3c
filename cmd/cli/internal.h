/* Between the files of cmd/cli/ only. */
#ifndef PROP_CMD_CLI_INTERNAL_H
#define PROP_CMD_CLI_INTERNAL_H

#include "cmd/cli/cli.h"
#include "cmd/cli/progress.h"

#include <stdio.h>

/* Where an option's value came from; --show-config prints it. */
enum prop_cli_origin { PROP_FROM_DEFAULT, PROP_FROM_FILE, PROP_FROM_ENV, PROP_FROM_FLAG };

#define PROP_CLI_MAX_OPTS 96

struct prop_cli {
    const struct prop_tool *tool;
    const struct prop_verb *verb;
    const char **args;
    int n_args;
    void *opts;                /* the verb's option struct */
    enum prop_cli_origin origin[PROP_CLI_MAX_OPTS];
    json_t *config;            /* configuration file, or NULL */
    char *config_path;
    bool json, quiet, verbose, no_progress, show_config, help;
    int status;                /* prop_cli_set_status */
    bool result_given;
    uint64_t progress_start_ms, progress_last_ms;
    struct prop_rate progress_rate;
    bool progress_drawn;
};

/* Parse flags, then environment, configuration and defaults for the rest. */
int prop_cli_parse(struct prop_cli *cli, int argc, char **argv, struct prop_err *err);
/* The options every verb has; NULL name ends. */
extern const struct prop_opt prop_cli_common[];

void prop_cli_help_tool(const struct prop_tool *tool, FILE *out);
/* The verbs that begin with `word`: "policy" for "policy set" and so on. */
void prop_cli_help_group(const struct prop_tool *tool, const char *word, FILE *out);
void prop_cli_help_verb(const struct prop_tool *tool, const struct prop_verb *verb, FILE *out);
void prop_cli_show_config(struct prop_cli *cli);
void prop_cli_version(const struct prop_tool *tool);
/* The verb whose name is nearest to `word`, or NULL. */
const struct prop_verb *prop_cli_nearest(const struct prop_tool *tool, const char *word);
/* Wipe a progress line that stands on the terminal. */
void prop_cli_progress_end(struct prop_cli *cli);
/* Report a failure the way --json or people want it. */
void prop_cli_report(struct prop_cli *cli, const struct prop_err *err);

#endif
