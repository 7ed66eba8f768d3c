/* The protobuf half is libprotobuf-c's, from a descriptor written out here: what protoc-c would
 * make of `message { bytes payload = 1; }`, which all four messages of the service are. */
#include "keyprovider/frame.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <string.h>

struct payload_message {
    ProtobufCMessage base;
    ProtobufCBinaryData payload;
};

static const ProtobufCFieldDescriptor fields[] = {
    { .name = "payload", .id = 1, .label = PROTOBUF_C_LABEL_NONE, .type = PROTOBUF_C_TYPE_BYTES,
      .offset = offsetof(struct payload_message, payload) },
};
static const unsigned fields_by_name[] = { 0 };
static const ProtobufCIntRange field_ranges[] = { { 1, 0 }, { 0, 1 } };
static const ProtobufCMessageDescriptor descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "keyprovider.keyProviderKeyWrapProtocolInput",
    .short_name = "keyProviderKeyWrapProtocolInput",
    .c_name = "payload_message",
    .package_name = "keyprovider",
    .sizeof_message = sizeof(struct payload_message),
    .n_fields = 1,
    .fields = fields,
    .fields_sorted_by_name = fields_by_name,
    .n_field_ranges = 1,
    .field_ranges = field_ranges,
};

/* protobuf-c copies what it unpacks: into guarded memory that is wiped as a whole. */
struct arena {
    struct prop_secret *room;
    size_t used;
};

static void *arena_alloc(void *ctx, size_t size)
{
    struct arena *a = ctx;
    uint8_t *p = prop_secret_bytes(a->room) + a->used;
    size_t left = prop_secret_len(a->room) - a->used;
    size_t gap = -(uintptr_t)p & 15; /* guarded memory ends on a page, and begins anywhere */
    if (gap > left || size > left - gap)
        return NULL;
    a->used += gap + size;
    return p + gap;
}

static void arena_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

static struct payload_message payload_of(const struct prop_secret *json)
{
    struct payload_message m = { .base = PROTOBUF_C_MESSAGE_INIT(&descriptor) };
    m.payload.len = prop_secret_len(json);
    m.payload.data = (uint8_t *)(uintptr_t)prop_secret_data(json); /* read only */
    return m;
}

int prop_kp_frame_write(const struct prop_secret *json, struct prop_secret **ret,
                        struct prop_err *err)
{
    struct payload_message m = payload_of(json);
    size_t size = protobuf_c_message_get_packed_size(&m.base);
    if (prop_secret_len(json) > PROP_KP_LIMIT_MESSAGE)
        return prop_err_set(err, PROP_E_LIMIT, "more than %u bytes", PROP_KP_LIMIT_MESSAGE);
    int rc = prop_secret_new(PROP_KP_FRAME_PREFIX + size, ret, err);
    if (rc != 0)
        return rc;
    uint8_t *out = prop_secret_bytes(*ret);
    out[0] = 0; /* not compressed */
    for (size_t i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(size >> (24 - 8 * i));
    (void)protobuf_c_message_pack(&m.base, out + PROP_KP_FRAME_PREFIX);
    return 0;
}

static int bad(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_INPUT, "grpc-message", "gRPC message: %s", what);
}

static int unpack(const uint8_t *data, size_t len, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *room = NULL;
    int rc = prop_secret_new(2 * len + 8192, &room, err); /* the payload may be given twice */
    if (rc != 0)
        return rc;
    struct arena arena = { room, 0 };
    ProtobufCAllocator from_arena = { arena_alloc, arena_free, &arena };
    const struct payload_message *m =
        (const void *)protobuf_c_message_unpack(&descriptor, &from_arena, len, data);
    if (!m)
        return bad(err, "it is not what the service takes");
    return prop_secret_copy(m->payload.data, m->payload.len, ret, err);
}

int prop_kp_frame_read(const struct prop_secret *frame, struct prop_secret **ret_json,
                       struct prop_err *err)
{
    const uint8_t *p = prop_secret_data(frame);
    size_t len = prop_secret_len(frame);
    if (len < PROP_KP_FRAME_PREFIX)
        return bad(err, "none was sent, or only a part");
    if (p[0] != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "grpc-compressed",
                               "gRPC message: compression is not supported");
    size_t stated = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (stated != len - PROP_KP_FRAME_PREFIX)
        return bad(err, "its length is not what was sent");
    return unpack(p + PROP_KP_FRAME_PREFIX, stated, ret_json, err);
}
