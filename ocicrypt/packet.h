/* The attestation agent's annotation packet (ocicrypt.md 8.1): private options wrapped with a key
 * encryption key (KEK) that lives in a key broker under `kid`. */
#ifndef PROP_OCICRYPT_PACKET_H
#define PROP_OCICRYPT_PACKET_H

#include "keys/resource_id.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_PACKET_IV 12
#define PROP_PACKET_CTR_IV 16

struct prop_packet {
    json_t *json;          /* owned; the strings below are borrowed from it */
    const char *kid;
    const char *wrap_type; /* "A256GCM" or "A256CTR" */
    bool has_tag;          /* A256GCM */
    struct prop_buf iv, data;
};
#define PROP_PACKET_INIT { NULL, NULL, NULL, false, PROP_BUF_INIT(64), PROP_BUF_INIT(1u << 20) }

/* Read the classic four members or the newer form; unknown members are ignored.
 * Fails: PROP_E_INPUT (id "bad-annotation"), PROP_E_UNSUPPORTED (id "unsupported-packet") another
 * provider, version or wrap type. */
int prop_packet_parse(const void *text, size_t len, struct prop_packet *ret, struct prop_err *err);
void prop_packet_release(struct prop_packet *p);
#define prop_auto_packet __attribute__((cleanup(prop_packet_release)))

/* Unwrap. PROP_E_VERIFY (id "kek-wrong"): another KEK, or a changed packet. A256CTR has no tag:
 * there the result only was checked to be private options at all. */
int prop_packet_open(const struct prop_packet *p, const struct prop_secret *kek,
                     struct prop_secret **ret, struct prop_err *err);

/* Write an A256GCM packet, members in the key provider's order. iv NULL = a fresh random one;
 * test vectors give it. */
int prop_packet_seal(const struct prop_secret *kek, const struct prop_resource_id *kid,
                     const uint8_t iv[PROP_PACKET_IV], const struct prop_secret *privopts,
                     struct prop_buf *out, struct prop_err *err);
/* The same with A256CTR, which nothing protects against changes: only where it is asked for. */
int prop_packet_seal_ctr(const struct prop_secret *kek, const struct prop_resource_id *kid,
                         const uint8_t iv[PROP_PACKET_CTR_IV], const struct prop_secret *privopts,
                         struct prop_buf *out, struct prop_err *err);

/* The KEK that the key provider's sample mode uses, which everybody knows. */
bool prop_kek_is_public(const struct prop_secret *kek);

#endif
