/* gRPC's length-prefixed message around the one protobuf message of the service (ocicrypt.md 6.3):
 * `bytes = 1`, the JSON. */
#ifndef PROP_KEYPROVIDER_FRAME_H
#define PROP_KEYPROVIDER_FRAME_H

#include "keyprovider/message.h"
#include "util/err.h"
#include "util/secret.h"

#define PROP_KP_PATH_WRAP "/keyprovider.KeyProviderService/WrapKey"
#define PROP_KP_PATH_UNWRAP "/keyprovider.KeyProviderService/UnWrapKey"
#define PROP_KP_FRAME_PREFIX 5
/* The JSON, a protobuf tag and length, the prefix; and room for a few fields nobody knows yet. */
#define PROP_KP_LIMIT_FRAME (PROP_KP_LIMIT_MESSAGE + 256u)

/* Fails: PROP_E_LIMIT, PROP_E_NOMEM. */
int prop_kp_frame_write(const struct prop_secret *json, struct prop_secret **ret,
                        struct prop_err *err);
/* Exactly one message. Fails: PROP_E_INPUT (id "grpc-message"); PROP_E_UNSUPPORTED (id
 * "grpc-compressed"). */
int prop_kp_frame_read(const struct prop_secret *frame, struct prop_secret **ret_json,
                       struct prop_err *err);

#endif
