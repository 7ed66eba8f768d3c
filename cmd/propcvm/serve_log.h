/* The service's log on stderr: a line per event, as text or as JSON, each written in one go. */
#ifndef PROP_CMD_PROPCVM_SERVE_LOG_H
#define PROP_CMD_PROPCVM_SERVE_LOG_H

#include "guest/service.h"

struct propcvm_log {
    enum prop_service_level level; /* what is less important is left out */
    bool json;
};
/* "error", "warn", "info", "debug", "trace", "off" in any case; and "text", "json".
 * Fails: PROP_E_USAGE (id "bad-option-value"). */
int propcvm_log_level(const char *text, enum prop_service_level *ret, struct prop_err *err);
int propcvm_log_format(const char *text, bool *ret_json, struct prop_err *err);
/* prop_service_config.log; ctx is a struct propcvm_log. `line` is printable. */
void propcvm_log_line(void *ctx, enum prop_service_level level, const char *line);

#endif
