/* Blocks of each scheme, read as far as they are readable to everybody. Everything comes from
 * outside: each reader has its bounds, none recurses. */
#include "ocicrypt/describe_block.h"

#include "crypto/pkcs7.h"
#include "jose/jwe.h"
#include "keys/resource_id.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/packet.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/text.h"

#include <stdarg.h>
#include <string.h>

#define WARN_RUST "is not read by the Rust library (image-rs, the Confidential Data Hub)"

void prop_describe_warn(json_t *warnings, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    json_t *text = json_vsprintf(fmt, ap);
    va_end(ap);
    size_t n = json_array_size(warnings);
    bool said = n > 0 && text && json_equal(json_array_get(warnings, n - 1), text);
    if (said) /* a list of alike blocks */
        json_decref(text);
    else
        (void)json_array_append_new(warnings, text);
}
#define warn prop_describe_warn

/* Hand a value over that is NULL when memory is out. */
static int give(json_t *value, json_t **ret, struct prop_err *err)
{
    if (!value)
        return prop_err_nomem(err);
    *ret = value;
    return 0;
}

/* A new member; both may be NULL when memory is out. */
static int set(json_t *object, const char *name, json_t *value, struct prop_err *err)
{
    return json_object_set_new(object, name, value) == 0 ? 0 : prop_err_nomem(err);
}

static int give_bytes(const struct prop_buf *block, json_t **ret, struct prop_err *err)
{
    return give(json_pack("[{s:I}]", "bytes", (json_int_t)block->len), ret, err);
}

/* --- key packets --- */

static void warn_kid(const char *kid, json_t *warnings)
{
    struct prop_resource_id id;
    if (strcmp(kid, "kbs:///default/test-key/1") == 0)
        warn(warnings, "'%s' is the key provider's sample key, which everybody has", kid);
    if (!prop_starts_with(kid, "kbs://"))
        warn(warnings, "kid '%s' is not a kbs:/// address: the Confidential Data Hub refuses it",
             kid);
    else if (prop_resource_id_parse(kid, false, &id, NULL) != 0)
        warn(warnings, "kid '%s' is not of the form kbs:///repo/type/tag", kid);
    else if (id.host[0])
        warn(warnings, "kid '%s' names a host: some readers ignore it, others go there", kid);
}

static int describe_packet(const char *scheme, const struct prop_buf *block, json_t *warnings,
                           json_t **ret, struct prop_err *err)
{
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    bool ours = strcmp(scheme, PROP_SCHEME_AGENT) == 0;
    if (!ours)
        warn(warnings, "recipients of kind '%s' need that key provider, or the KEK of a packet",
             scheme);
    int rc = prop_packet_parse(block->data, block->len, &p, NULL);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0) {
        if (ours)
            warn(warnings, "a block of '%s' is not a key packet", scheme);
        return give_bytes(block, ret, err);
    }
    warn_kid(p.kid, warnings);
    if (!p.has_tag)
        warn(warnings, "the packet for '%s' is wrapped with A256CTR: it has no integrity", p.kid);
    json_t *version = json_object_get(p.json, "version");
    return give(json_pack("[{s:s,s:s,s:O*}]", "kid", p.kid, "wrap_type", p.wrap_type, "version",
                          version), ret, err);
}

/* --- JWE --- */

static void warn_alg(const json_t *recipient, json_t *warnings)
{
    const char *alg = json_string_value(json_object_get(recipient, "alg"));
    const char *enc = json_string_value(json_object_get(recipient, "enc"));
    if (alg && strcmp(alg, "RSA-OAEP") != 0 && strcmp(alg, "ECDH-ES+A256KW") != 0)
        warn(warnings, "JWE key management '%s' " WARN_RUST, alg);
    if (enc && strcmp(enc, "A256GCM") != 0)
        warn(warnings, "JWE content encryption '%s' is not what ocicrypt writes (A256GCM)", enc);
}

/* Is the algorithm that of a recipient before this one? */
static bool is_repeated(const json_t *all, size_t i)
{
    json_t *alg = json_object_get(json_array_get(all, i), "alg");
    for (size_t k = 0; alg && k < i; k++)
        if (json_equal(json_object_get(json_array_get(all, k), "alg"), alg))
            return true;
    return false;
}

static int describe_jwe(const char *scheme, const struct prop_buf *block, json_t *warnings,
                        json_t **ret, struct prop_err *err)
{
    struct prop_err why = PROP_ERR_INIT;
    json_t *all = NULL;
    bool repeated = false;
    (void)scheme;
    int rc = prop_jwe_describe((const char *)block->data, block->len, &all, &why);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0) {
        warn(warnings, "a JWE cannot be read: %s", why.message);
        return give(json_array(), ret, err);
    }
    if (block->data[strspn((const char *)block->data, " \t\r\n")] != '{')
        warn(warnings, "a JWE in compact form " WARN_RUST);
    for (size_t i = 0; i < json_array_size(all); i++) {
        repeated = repeated || is_repeated(all, i);
        warn_alg(json_array_get(all, i), warnings);
    }
    if (repeated)
        warn(warnings, "recipients of one JWE share an algorithm: the Rust library tries only the "
             "first of them");
    return give(all, ret, err);
}

/* --- PKCS#7 --- */

/* The digits of a DER INTEGER; what is longer than RFC 5280 4.1.2.2 allows by far is cut. */
static const char *serial_text(const struct prop_pkcs7_recipient *r, char out[129])
{
    size_t len = r->serial_len > 2 && r->serial[1] < 0x80 ? r->serial_len - 2 : 0;
    const uint8_t *at = r->serial + 2;
    while (len > 1 && *at == 0) {
        at++;
        len--;
    }
    prop_hex_encode(at, len < 64 ? len : 64, out);
    return out;
}

static int describe_pkcs7_recipient(const struct prop_pkcs7 *p,
                                    const struct prop_pkcs7_recipient *r, json_t *all,
                                    struct prop_err *err)
{
    char issuer[512], serial[129];
    json_t *out = json_object();
    int rc = json_array_append_new(all, out) == 0 ? 0 : prop_err_nomem(err);
    if (rc == 0 && r->issuer)
        rc = set(out, "issuer", json_string(prop_cert_name_text(r->issuer, r->issuer_len, issuer,
                                                                sizeof(issuer))), err);
    if (rc == 0 && r->issuer)
        rc = set(out, "serial", json_string(serial_text(r, serial)), err);
    if (rc == 0 && r->key)
        rc = set(out, "alg", json_string("RSA1_5"), err);
    if (rc == 0 && p->enc)
        rc = set(out, "enc", json_string(p->enc), err);
    return rc;
}

static int describe_pkcs7(const char *scheme, const struct prop_buf *block, json_t *warnings,
                          json_t **ret, struct prop_err *err)
{
    struct prop_err why = PROP_ERR_INIT;
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    prop_auto_json json_t *all = json_array();
    warn(warnings, "%s " WARN_RUST, scheme);
    int rc = prop_pkcs7_parse(block->data, block->len, &p, &why);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0)
        warn(warnings, "a block of '%s' cannot be read: %s", scheme, why.message);
    for (size_t i = 0; i < p.n; i++)
        if ((rc = describe_pkcs7_recipient(&p, &p.recipients[i], all, err)) != 0)
            return rc;
    return give(PROP_TAKE(all), ret, err);
}

/* --- OpenPGP --- */

struct pgp {
    const uint8_t *at, *end;
};

/* A big-endian number of 1 to 4 bytes. */
static bool pgp_number(struct pgp *p, size_t bytes, size_t *ret)
{
    if ((size_t)(p->end - p->at) < bytes)
        return false;
    for (*ret = 0; bytes > 0; bytes--)
        *ret = *ret << 8 | *p->at++;
    return true;
}

/* Header of the next packet (RFC 4880 section 4.2): its tag and body. False at the end, and for
 * bodies of unknown length, which only data packets have. */
static bool pgp_next(struct pgp *p, unsigned *ret_tag, struct pgp *ret_body)
{
    size_t len = 0, more = 0;
    if (p->at == p->end || !(*p->at & 0x80))
        return false;
    uint8_t first = *p->at++;
    if (first & 0x40) {
        *ret_tag = first & 0x3f;
        if (!pgp_number(p, 1, &len) || (len >= 224 && len < 255))
            return false;
        if (len == 255 && !pgp_number(p, 4, &len))
            return false;
        if (len >= 192 && len < 224) {
            if (!pgp_number(p, 1, &more))
                return false;
            len = ((len - 192) << 8) + more + 192;
        }
    } else {
        *ret_tag = (first >> 2) & 0xf;
        if ((first & 3) == 3 || !pgp_number(p, (size_t)1 << (first & 3), &len))
            return false;
    }
    if (len > (size_t)(p->end - p->at))
        return false;
    *ret_body = (struct pgp){ p->at, p->at + len };
    p->at += len;
    return true;
}

static const char *pgp_algorithm(uint8_t id)
{
    switch (id) { /* RFC 4880 section 9.1, RFC 6637 */
    case 1:
    case 2:
        return "RSA";
    case 16:
        return "ElGamal";
    case 18:
        return "ECDH";
    default:
        return "?";
    }
}

/* The encrypted session keys in front of the data (RFC 4880 section 5.1). */
static int describe_pgp(const char *scheme, const struct prop_buf *block, json_t *warnings,
                        json_t **ret, struct prop_err *err)
{
    struct pgp p = { block->data, block->data + block->len }, body;
    unsigned tag = 0;
    char id[17];
    prop_auto_json json_t *all = json_array();
    warn(warnings, "recipients of kind '%s' are recognised, not opened", scheme);
    while (json_array_size(all) < PROP_LIMIT_RECIPIENTS && pgp_next(&p, &tag, &body) && tag == 1) {
        if (body.end - body.at < 10 || body.at[0] != 3)
            continue;
        prop_hex_encode(body.at + 1, 8, id);
        if (json_array_append_new(all, json_pack("{s:s,s:s}", "key_id", id, "alg",
                                                 pgp_algorithm(body.at[9]))) != 0)
            return prop_err_nomem(err);
    }
    return json_array_size(all) > 0 ? give(PROP_TAKE(all), ret, err) : give_bytes(block, ret, err);
}

/* --- PKCS#11 --- */

static int describe_pkcs11(const char *scheme, const struct prop_buf *block, json_t *warnings,
                           json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    prop_auto_json json_t *all = json_array();
    json_t *one;
    size_t i;
    warn(warnings, "recipients of kind '%s' are recognised, not opened", scheme);
    int rc = prop_json_parse((const char *)block->data, block->len, "PKCS#11 block", &doc, NULL);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0)
        warn(warnings, "a block of '%s' is not JSON", scheme);
    json_array_foreach(json_object_get(doc, "recipients"), i, one) {
        const char *hash = json_string_value(json_object_get(one, "hash"));
        if (i >= PROP_LIMIT_RECIPIENTS)
            break;
        if (json_array_append_new(all, json_pack("{s:s,s:s}", "alg", "RSA-OAEP", "hash",
                                                 hash ? hash : "sha1")) != 0)
            return prop_err_nomem(err);
    }
    return give(PROP_TAKE(all), ret, err);
}

/* --- all of them --- */

int prop_describe_block(const char *scheme, const struct prop_buf *block, json_t *warnings,
                        json_t **ret, struct prop_err *err)
{
    static const struct {
        const char *scheme;
        int (*describe)(const char *scheme, const struct prop_buf *block, json_t *warnings,
                        json_t **ret, struct prop_err *err);
    } rows[] = {
        { PROP_SCHEME_JWE, describe_jwe },
        { PROP_SCHEME_PKCS7, describe_pkcs7 },
        { PROP_SCHEME_PGP, describe_pgp },
        { PROP_SCHEME_PKCS11, describe_pkcs11 },
    };
    if (prop_starts_with(scheme, PROP_SCHEME_PROVIDER))
        return describe_packet(scheme, block, warnings, ret, err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(rows); i++)
        if (strcmp(scheme, rows[i].scheme) == 0)
            return rows[i].describe(scheme, block, warnings, ret, err);
    warn(warnings, "'%s' is a key scheme that nothing here knows", scheme);
    return give_bytes(block, ret, err);
}
