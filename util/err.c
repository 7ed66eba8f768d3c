/* The error object. Foreign text reaches messages, so control characters are made visible here,
 * once, for every message there is. */
#include "util/err.h"

#include "util/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *code_name(enum prop_code code)
{
    switch (code) {
    case PROP_OK: return "ok";
    case PROP_E_USAGE: return "usage";
    case PROP_E_INPUT: return "malformed-input";
    case PROP_E_LIMIT: return "over-limit";
    case PROP_E_NOTFOUND: return "not-found";
    case PROP_E_EXISTS: return "exists";
    case PROP_E_AUTH: return "unauthenticated";
    case PROP_E_DENIED: return "denied";
    case PROP_E_VERIFY: return "verification-failed";
    case PROP_E_UNSUPPORTED: return "unsupported";
    case PROP_E_NETWORK: return "network";
    case PROP_E_REMOTE: return "remote";
    case PROP_E_IO: return "local-io";
    case PROP_E_NOMEM: return "out-of-memory";
    case PROP_E_INTERRUPTED: return "interrupted";
    case PROP_E_BUG: return "internal-error";
    case PROP_E_NO: return "no";
    case PROP_E_TIMEOUT: return "deadline";
    case PROP_E_TRAP: return "trap";
    }
    return "internal-error";
}

/* For callers that want no message: prop_err_wrap and prop_err_hint return the code of the failure they
 * speak of, and without an object it would be lost. */
static _Thread_local enum prop_code latest = PROP_E_BUG;

static void begin(struct prop_err *err, enum prop_code code, const char *id)
{
    err->code = code;
    err->id = id;
    err->sys_errno = 0;
    err->http_status = 0;
    err->hint[0] = 0;
}

static void format(char *out, size_t size, const char *fmt, va_list ap)
{
    char raw[1536];
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    if (n < 0)
        n = 0;
    size_t len = (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
    prop_printable(raw, len, out, size);
}

int prop_err_set(struct prop_err *err, enum prop_code code, const char *fmt, ...)
{
    latest = code;
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        begin(err, code, NULL);
        format(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
    }
    return code;
}

int prop_err_set_id(struct prop_err *err, enum prop_code code, const char *id, const char *fmt, ...)
{
    latest = code;
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        begin(err, code, id);
        format(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
    }
    return code;
}

int prop_err_sys(struct prop_err *err, enum prop_code code, const char *fmt, ...)
{
    int saved = errno;
    latest = code;
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        begin(err, code, NULL);
        format(err->message, sizeof err->message, fmt, ap);
        va_end(ap);
        err->sys_errno = saved;
        size_t used = strlen(err->message);
        char text[128];
        /* strerror_r of glibc: the text may not be in the buffer it was given. */
        (void)snprintf(err->message + used, sizeof err->message - used, ": %s",
                       strerror_r(saved, text, sizeof text));
    }
    errno = saved;
    return code;
}

int prop_err_nomem(struct prop_err *err)
{
    return prop_err_set(err, PROP_E_NOMEM, "out of memory");
}

int prop_err_wrap(struct prop_err *err, const char *fmt, ...)
{
    if (!err)
        return latest;
    char context[512];
    va_list ap;
    va_start(ap, fmt);
    format(context, sizeof context - 2, fmt, ap);
    va_end(ap);
    size_t n = strlen(context);
    memcpy(context + n, ": ", 2);
    n += 2;
    /* Make room in front; what does not fit any more falls off the end. */
    size_t keep = strlen(err->message);
    if (keep > sizeof err->message - 1 - n)
        keep = sizeof err->message - 1 - n;
    memmove(err->message + n, err->message, keep);
    memcpy(err->message, context, n);
    err->message[n + keep] = 0;
    return err->code;
}

int prop_err_hint(struct prop_err *err, const char *fmt, ...)
{
    if (!err)
        return latest;
    if (!err->hint[0]) {
        va_list ap;
        va_start(ap, fmt);
        format(err->hint, sizeof err->hint, fmt, ap);
        va_end(ap);
    }
    return err->code;
}

const char *prop_err_id(const struct prop_err *err)
{
    return err->id ? err->id : code_name(err->code);
}

void prop_err_clear(struct prop_err *err)
{
    if (err) {
        begin(err, PROP_OK, NULL);
        err->message[0] = 0;
    }
}
