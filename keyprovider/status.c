#include "keyprovider/status.h"

#include "util/encode.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

static const char *const names[] = {
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
};

enum prop_kp_status prop_kp_status_of(enum prop_code code)
{
    switch (code) {
    case PROP_OK: return PROP_KP_STATUS_OK;
    case PROP_E_USAGE:
    case PROP_E_INPUT: return PROP_KP_STATUS_INVALID_ARGUMENT;
    case PROP_E_LIMIT:
    case PROP_E_NOMEM: return PROP_KP_STATUS_RESOURCE_EXHAUSTED;
    case PROP_E_NOTFOUND: return PROP_KP_STATUS_NOT_FOUND;
    case PROP_E_EXISTS: return PROP_KP_STATUS_ALREADY_EXISTS;
    case PROP_E_AUTH: return PROP_KP_STATUS_UNAUTHENTICATED;
    case PROP_E_DENIED: return PROP_KP_STATUS_PERMISSION_DENIED;
    case PROP_E_VERIFY:
    case PROP_E_UNSUPPORTED: /* UNIMPLEMENTED would say that the method is not there */
    case PROP_E_NO: return PROP_KP_STATUS_FAILED_PRECONDITION;
    case PROP_E_NETWORK:
    case PROP_E_INTERRUPTED: return PROP_KP_STATUS_UNAVAILABLE;
    case PROP_E_TIMEOUT: return PROP_KP_STATUS_DEADLINE_EXCEEDED;
    case PROP_E_REMOTE: return PROP_KP_STATUS_UNKNOWN;
    case PROP_E_IO:
    case PROP_E_BUG:
    case PROP_E_TRAP: break;
    }
    return PROP_KP_STATUS_INTERNAL;
}

const char *prop_kp_status_name(long status)
{
    return status >= 0 && (size_t)status < PROP_ARRAY_LEN(names) ? names[status] : "status";
}

void prop_kp_status_encode(const char *message, char *out, size_t size)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *message && n + 4 <= size; message++) {
        unsigned char c = (unsigned char)*message;
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[n++] = (char)c;
        } else {
            out[n++] = '%';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    out[n] = 0;
}

void prop_kp_status_decode(const char *value, size_t len, char *out, size_t size)
{
    char plain[1024];
    size_t n = 0;
    for (size_t i = 0; i < len && n < sizeof plain; i++) {
        int high = value[i] == '%' && i + 2 < len ? prop_hex_digit(value[i + 1]) : -1;
        int low = high >= 0 ? prop_hex_digit(value[i + 2]) : -1;
        if (low >= 0) {
            plain[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            plain[n++] = value[i];
        }
    }
    (void)prop_printable(plain, n, out, size);
}
