/* What the two linters' verbs share. */
#ifndef PROP_CMD_PROPKEY_LINT_REPORT_H
#define PROP_CMD_PROPKEY_LINT_REPORT_H

#include "cmd/cli/cli.h"
#include "policy/lint.h"

struct propkey_lint_opts {
    bool strict;
    struct prop_strs ignore;
};

#define PROPKEY_LINT_OPTIONS                                                                       \
    { "strict", 0, PROP_OPT_FLAG, NULL, "warnings are errors",                                     \
      offsetof(struct propkey_lint_opts, strict), NULL, NULL, false },                             \
    { "ignore", 0, PROP_OPT_LIST, "RULE", "leave findings of this rule out, e.g. sample-allowed",  \
      offsetof(struct propkey_lint_opts, ignore), NULL, NULL, false }

typedef int (*propkey_lint_fn)(const char *name, const char *text, size_t len,
                               const struct prop_lint_options *o, json_t **ret,
                               struct prop_err *err);
/* Lint every file of the command line and give the findings as the verb's result. */
int propkey_lint_files(struct prop_cli *cli, const struct propkey_lint_opts *o,
                       propkey_lint_fn lint, const struct prop_lint_options *options,
                       struct prop_err *err);

#endif
