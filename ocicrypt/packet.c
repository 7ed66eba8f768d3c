/* Attestation-agent packets: JSON around AES-256-GCM, or AES-256-CTR where it is asked for. */
#include "ocicrypt/packet.h"

#include "crypto/cipher.h"
#include "crypto/random.h"
#include "ocicrypt/options.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define GCM_TAG 16

struct packet_text {
    const char *kid, *data, *iv, *wrap_type, *version, *provider;
};
static const struct prop_json_field packet_fields[] = {
    { "kid", PROP_JSON_STRING, offsetof(struct packet_text, kid), PROP_JSON_REQUIRED },
    { "wrapped_data", PROP_JSON_STRING, offsetof(struct packet_text, data), PROP_JSON_REQUIRED },
    { "iv", PROP_JSON_STRING, offsetof(struct packet_text, iv), PROP_JSON_NULLABLE },
    { "wrap_type", PROP_JSON_STRING, offsetof(struct packet_text, wrap_type), PROP_JSON_NULLABLE },
    { "version", PROP_JSON_STRING, offsetof(struct packet_text, version), PROP_JSON_NULLABLE },
    { "provider", PROP_JSON_STRING, offsetof(struct packet_text, provider), PROP_JSON_NULLABLE },
};

void prop_packet_release(struct prop_packet *p)
{
    json_decref(p->json);
    p->json = NULL;
    p->kid = p->wrap_type = NULL;
    prop_buf_release(&p->iv);
    prop_buf_release(&p->data);
}

static int bad(struct prop_err *err, const char *what)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation", "key packet: %s", what);
}

static int unsupported(struct prop_err *err, const char *what, const char *value)
{
    char shown[64];
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "unsupported-packet",
                           "key packet: %s '%s' is not supported", what,
                           prop_printable(value, strlen(value), shown, sizeof(shown)));
}

static int decode_bytes(const char *text, const char *what, struct prop_buf *out,
                        struct prop_err *err)
{
    int rc = prop_b64_decode(PROP_B64_STD, text, strlen(text), what, out, err);
    if (rc == PROP_E_INPUT || rc == PROP_E_LIMIT)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "key packet: '%s' is not base64, or too long", what);
    return rc;
}

static int check_lengths(const struct prop_packet *p, struct prop_err *err)
{
    if (p->iv.len != (p->has_tag ? PROP_PACKET_IV : PROP_PACKET_CTR_IV))
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "key packet: an IV of %zu bytes does not fit %s", p->iv.len,
                               p->wrap_type);
    if (p->data.len < (p->has_tag ? GCM_TAG + 1 : 1))
        return bad(err, "'wrapped_data' is too short");
    return 0;
}

int prop_packet_parse(const void *text, size_t len, struct prop_packet *ret, struct prop_err *err)
{
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    struct packet_text t = { .kid = NULL };
    int rc;
    if ((rc = prop_json_parse(text, len, "key packet", &p.json, err)) != 0 ||
        (rc = prop_json_read(p.json, "key packet", packet_fields, PROP_ARRAY_LEN(packet_fields), &t,
                             err)) != 0) {
        if (rc == PROP_E_INPUT && err)
            err->id = "bad-annotation";
        return rc;
    }
    if (t.provider && strcmp(t.provider, "kbs") != 0)
        return unsupported(err, "provider", t.provider);
    if (t.version && strcmp(t.version, "0.1.0") != 0)
        return unsupported(err, "version", t.version);
    if (!t.iv || !t.wrap_type)
        return bad(err, "'iv' or 'wrap_type' is missing");
    p.has_tag = strcmp(t.wrap_type, "A256GCM") == 0;
    if (!p.has_tag && strcmp(t.wrap_type, "A256CTR") != 0)
        return unsupported(err, "wrap type", t.wrap_type);
    p.kid = t.kid;
    p.wrap_type = t.wrap_type;
    if ((rc = decode_bytes(t.iv, "iv", &p.iv, err)) != 0 ||
        (rc = decode_bytes(t.data, "wrapped_data", &p.data, err)) != 0 ||
        (rc = check_lengths(&p, err)) != 0)
        return rc;
    *ret = p;
    p = (struct prop_packet)PROP_PACKET_INIT;
    return 0;
}

static int open_ctr(const struct prop_packet *p, const struct prop_secret *kek,
                    struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_ctr struct prop_ctr *ctr = NULL;
    prop_auto_secret struct prop_secret *plain = NULL;
    int rc;
    if ((rc = prop_ctr_new(kek, p->iv.data, &ctr, err)) != 0 ||
        (rc = prop_secret_new(p->data.len, &plain, err)) != 0 ||
        (rc = prop_ctr_update(ctr, p->data.data, p->data.len, prop_secret_bytes(plain), err)) != 0)
        return rc;
    if (prop_layer_privopts_check(plain, NULL) != 0)
        return PROP_E_VERIFY;
    *ret = PROP_TAKE(plain);
    return 0;
}

int prop_packet_open(const struct prop_packet *p, const struct prop_secret *kek,
                     struct prop_secret **ret, struct prop_err *err)
{
    char shown[128];
    size_t len = p->data.len - (p->has_tag ? GCM_TAG : 0);
    int rc = p->has_tag ? prop_gcm_open(kek, p->iv.data, p->iv.len, NULL, 0, p->data.data, len,
                                        p->data.data + len, ret, err)
                        : open_ctr(p, kek, ret, err);
    if (rc == PROP_E_VERIFY)
        return prop_err_set_id(err, rc, "kek-wrong",
                               "the key does not open the packet for '%s'",
                               prop_printable(p->kid, strlen(p->kid), shown, sizeof(shown)));
    return rc;
}

/* The IV given, or a fresh one in `fresh`. */
static const uint8_t *iv_or_fresh(const uint8_t *iv, uint8_t *fresh, size_t len)
{
    if (iv)
        return iv;
    prop_random(fresh, len);
    return fresh;
}

static int write_packet(const struct prop_resource_id *kid, const uint8_t *iv, size_t iv_len,
                        const struct prop_buf *data, const char *wrap_type, struct prop_buf *out,
                        struct prop_err *err)
{
    prop_auto_free char *uri = prop_resource_id_uri(kid);
    int rc;
    if (!uri)
        return prop_err_nomem(err);
    if ((rc = prop_buf_printf(out, err, "{\"kid\":\"%s\",\"wrapped_data\":\"", uri)) != 0 ||
        (rc = prop_b64_append(out, PROP_B64_STD, data->data, data->len, err)) != 0 ||
        (rc = prop_buf_puts(out, "\",\"iv\":\"", err)) != 0 ||
        (rc = prop_b64_append(out, PROP_B64_STD, iv, iv_len, err)) != 0)
        return rc;
    return prop_buf_printf(out, err, "\",\"wrap_type\":\"%s\"}", wrap_type);
}

int prop_packet_seal(const struct prop_secret *kek, const struct prop_resource_id *kid,
                     const uint8_t iv[PROP_PACKET_IV], const struct prop_secret *privopts,
                     struct prop_buf *out, struct prop_err *err)
{
    prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    uint8_t fresh[PROP_PACKET_IV];
    const uint8_t *use = iv_or_fresh(iv, fresh, sizeof(fresh));
    size_t len = prop_secret_len(privopts);
    int rc;
    if ((rc = prop_buf_reserve(&sealed, len + GCM_TAG, err)) != 0 ||
        (rc = prop_gcm_seal(kek, use, PROP_PACKET_IV, NULL, 0, prop_secret_data(privopts), len,
                            sealed.data, sealed.data + len, err)) != 0)
        return rc;
    sealed.len = len + GCM_TAG;
    return write_packet(kid, use, PROP_PACKET_IV, &sealed, "A256GCM", out, err);
}

int prop_packet_seal_ctr(const struct prop_secret *kek, const struct prop_resource_id *kid,
                         const uint8_t iv[PROP_PACKET_CTR_IV], const struct prop_secret *privopts,
                         struct prop_buf *out, struct prop_err *err)
{
    prop_auto_buf struct prop_buf sealed = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    prop_auto_ctr struct prop_ctr *ctr = NULL;
    uint8_t fresh[PROP_PACKET_CTR_IV];
    const uint8_t *use = iv_or_fresh(iv, fresh, sizeof(fresh));
    size_t len = prop_secret_len(privopts);
    int rc;
    if ((rc = prop_buf_reserve(&sealed, len, err)) != 0 ||
        (rc = prop_ctr_new(kek, use, &ctr, err)) != 0 ||
        (rc = prop_ctr_update(ctr, prop_secret_data(privopts), len, sealed.data, err)) != 0)
        return rc;
    sealed.len = len;
    return write_packet(kid, use, PROP_PACKET_CTR_IV, &sealed, "A256CTR", out, err);
}

bool prop_kek_is_public(const struct prop_secret *kek)
{
    /* coco_keyprovider's sample mode, ocicrypt.md 8.2 */
    static const uint8_t sample[32] = {
        0xd9, 0x9b, 0x77, 0x05, 0xb0, 0xba, 0x7a, 0x16, 0x82, 0x95, 0xb3, 0xa3, 0x36, 0x72, 0x70,
        0xb0, 0xdd, 0x9b, 0x37, 0x1b, 0xf5, 0x14, 0xca, 0x8b, 0x9b, 0xa7, 0xf0, 0xa3, 0x37, 0x11,
        0xda, 0xea };
    return prop_secret_len(kek) == sizeof(sample) &&
           prop_bytes_equal(prop_secret_data(kek), sample, sizeof(sample));
}
