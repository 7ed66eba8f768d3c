/* How publish and its verbs for unfinished runs talk. */
#ifndef PROP_CMD_PROPPUSH_PUBLISH_REPORT_H
#define PROP_CMD_PROPPUSH_PUBLISH_REPORT_H

#include "cmd/cli/cli.h"

/* Callbacks of struct prop_publish; ctx is the struct prop_cli. */
void proppush_tell_step(void *ctx, const char *text);
void proppush_tell_warning(void *ctx, const char *text);

/* People's form of the result documents: of a publish, of --abort and --forget, of --list. */
void proppush_print_published(const json_t *doc, void *stream);
void proppush_print_taken_back(const json_t *doc, void *stream);
void proppush_print_runs(const json_t *doc, void *stream);

#endif
