/* Log lines. The JSON form has the members that other proplets' lines have. */
#include "cmd/propcvm/serve_log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/file.h"
#include "util/json.h"
#include "util/text.h"

static const struct {
    const char *text;
    enum prop_service_level level;
} levels[] = {
    { "error", PROP_LOG_ERROR }, { "warn", PROP_LOG_WARN },   { "warning", PROP_LOG_WARN },
    { "info", PROP_LOG_INFO },   { "debug", PROP_LOG_DEBUG }, { "trace", PROP_LOG_DEBUG },
    { "off", PROP_LOG_ERROR },
};
static const char *const names[] = { "ERROR", "WARN", "INFO", "DEBUG" };

int propcvm_log_level(const char *text, enum prop_service_level *ret, struct prop_err *err)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(levels); i++)
        if (strcasecmp(text, levels[i].text) == 0) {
            *ret = levels[i].level;
            return 0;
        }
    prop_err_set_id(err, PROP_E_USAGE, "bad-option-value", "there is no log level '%s'", text);
    return prop_err_hint(err, "one of error, warn, info, debug");
}

int propcvm_log_format(const char *text, bool *ret_json, struct prop_err *err)
{
    if (strcmp(text, "json") != 0 && strcmp(text, "text") != 0)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-option-value",
                               "--log-format is text or json, not '%s'", text);
    *ret_json = strcmp(text, "json") == 0;
    return 0;
}

static void stamp(char out[40])
{
    struct timespec ts;
    char seconds[21];

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    prop_rfc3339(ts.tv_sec, seconds);
    (void)snprintf(out, 40, "%.19s.%03dZ", seconds, (int)(ts.tv_nsec / 1000000) % 1000);
}

void propcvm_log_line(void *ctx, enum prop_service_level level, const char *line)
{
    const struct propcvm_log *l = ctx;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(64u << 10);
    char when[40];
    int rc = -1;

    if (level > l->level)
        return;
    stamp(when);
    if (l->json) {
        prop_auto_json json_t *doc = json_pack("{s:s,s:s,s:{s:s},s:s}", "timestamp", when, "level",
                                               names[level], "fields", "message", line, "target",
                                               "propcvm");
        prop_auto_free char *text = doc ? prop_json_compact(doc) : NULL;
        if (text)
            rc = prop_buf_printf(&out, NULL, "%s\n", text);
    } else {
        rc = prop_buf_printf(&out, NULL, "%s %-5s %s\n", when, names[level], line);
    }
    if (rc == 0)
        (void)prop_write_all(STDERR_FILENO, out.data, out.len);
}
