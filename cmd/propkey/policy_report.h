/* What the verbs that ask policies share: their answers, and how they are printed. */
#ifndef PROP_CMD_PROPKEY_POLICY_REPORT_H
#define PROP_CMD_PROPKEY_POLICY_REPORT_H

#include "cmd/cli/cli.h"

#include <stdbool.h>

/* --server: 'current', or 'v0.16' for servers that give the path as one text.
 * Fails: PROP_E_USAGE (id "bad-server"). */
int propkey_policy_server(const char *age, bool *ret_old, struct prop_err *err);
/* "repo/type/tag" of a path or kbs:/// URI; with `any` of any form. Borrowed from `path`.
 * Fails: PROP_E_USAGE (id "bad-resource"). */
int propkey_policy_path(const char *path, bool any, const char **ret, struct prop_err *err);

/* Resources that were published from here, a list, owned; NULL when there is no ledger, or nothing
 * in it. */
int propkey_published(json_t **ret, struct prop_err *err);

/* Append the results of one case file, each with its "file". */
int propkey_add_results(json_t *results, const char *file, json_t *mine, struct prop_err *err);
/* Give them as the verb's result, with "cases", "passed" and "failed"; exit status 1 when any
 * failed. */
int propkey_give_results(struct prop_cli *cli, const json_t *results,
                         void (*human)(const json_t *doc, void *stream), struct prop_err *err);
/* "ok    FILE:LINE: NAME" or "FAIL  ...", no newline. */
void propkey_print_case(const json_t *result, void *stream);
/* "12 cases, 11 as expected". */
void propkey_print_summary(const json_t *doc, void *stream);

#endif
