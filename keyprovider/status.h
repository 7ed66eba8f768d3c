/* gRPC's status codes and messages (gRPC over HTTP/2, "Responses"). */
#ifndef PROP_KEYPROVIDER_STATUS_H
#define PROP_KEYPROVIDER_STATUS_H

#include "util/err.h"

#include <stddef.h>

enum prop_kp_status {
    PROP_KP_STATUS_OK = 0,
    PROP_KP_STATUS_CANCELLED = 1,
    PROP_KP_STATUS_UNKNOWN = 2,
    PROP_KP_STATUS_INVALID_ARGUMENT = 3,
    PROP_KP_STATUS_DEADLINE_EXCEEDED = 4,
    PROP_KP_STATUS_NOT_FOUND = 5,
    PROP_KP_STATUS_ALREADY_EXISTS = 6,
    PROP_KP_STATUS_PERMISSION_DENIED = 7,
    PROP_KP_STATUS_RESOURCE_EXHAUSTED = 8,
    PROP_KP_STATUS_FAILED_PRECONDITION = 9,
    PROP_KP_STATUS_UNIMPLEMENTED = 12,
    PROP_KP_STATUS_INTERNAL = 13,
    PROP_KP_STATUS_UNAVAILABLE = 14,
    PROP_KP_STATUS_UNAUTHENTICATED = 16
};

/* The status that tells a failure of ours. */
enum prop_kp_status prop_kp_status_of(enum prop_code code);
/* "NOT_FOUND"; "status" for a number that has no name. */
const char *prop_kp_status_name(long status);
/* grpc-message: percent-encoded, cut to fit `size`. */
void prop_kp_status_encode(const char *message, char *out, size_t size);
/* The other way, into printable text; what is no escape stays as it is. */
void prop_kp_status_decode(const char *value, size_t len, char *out, size_t size);

#endif
