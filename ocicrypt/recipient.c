/* Recipients: reading `-r` arguments, wrapping private options for each, and the check that what
 * was written opens again. A scheme is a table of three functions; a kind of argument is a row. */
#include "ocicrypt/recipient.h"

#include "jose/jwe.h"
#include "keys/keyfile.h"
#include "ocicrypt/agent_spec.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/options.h"
#include "ocicrypt/packet.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>
#include <sys/stat.h>

struct recipient;

/* How one annotation's blocks are made. */
struct scheme {
    const char *annotation;
    /* Append this recipient's block to `out`. */
    int (*wrap)(const struct recipient *c, const struct prop_secret *privopts,
                struct prop_buf *out, struct prop_err *err);
    /* Open what stands in the layer with the secret at hand and read the options; NULL: the
     * private half is elsewhere, blocks are only counted. */
    int (*reopen)(const struct recipient *c, const struct prop_descriptor *layer,
                  struct prop_secret **ret, struct prop_err *err);
};

struct recipient {
    const struct scheme *scheme;
    struct prop_pkey *key; /* jwe */
    char *jwk_kid, *jwk_alg;
    struct prop_secret *kek; /* attestation-agent */
    struct prop_resource_id kid;
};

struct prop_recipients {
    struct recipient *items;
    size_t n;
    json_t *warnings;
};

int prop_recipients_new(struct prop_recipients **ret, struct prop_err *err)
{
    struct prop_recipients *r = prop_zalloc(sizeof(*r));
    if (!r)
        return prop_err_nomem(err);
    r->warnings = json_array();
    if (!r->warnings) {
        prop_free(r);
        return prop_err_nomem(err);
    }
    *ret = r;
    return 0;
}

static void recipient_release(struct recipient *c)
{
    prop_pkey_free(c->key);
    prop_free(c->jwk_kid);
    prop_free(c->jwk_alg);
    prop_secret_free(c->kek);
}

void prop_recipients_free(struct prop_recipients *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        recipient_release(&r->items[i]);
    prop_free(r->items);
    json_decref(r->warnings);
    prop_free(r);
}

size_t prop_recipients_count(const struct prop_recipients *r)
{
    return r->n;
}

const json_t *prop_recipients_warnings(const struct prop_recipients *r)
{
    return r->warnings;
}

/* Takes `c` over, also on failure. */
static int append(struct prop_recipients *r, struct recipient *c, struct prop_err *err)
{
    if (r->n >= PROP_LIMIT_RECIPIENTS) {
        recipient_release(c);
        return prop_err_set(err, PROP_E_LIMIT, "more than %d recipients", PROP_LIMIT_RECIPIENTS);
    }
    struct recipient *more = prop_realloc_array(r->items, r->n + 1, sizeof(*more));
    if (!more) {
        recipient_release(c);
        return prop_err_nomem(err);
    }
    r->items = more;
    r->items[r->n++] = *c;
    return 0;
}

/* --- jwe: one flattened object per key, which every reader opens with every key --- */

static int jwe_wrap(const struct recipient *c, const struct prop_secret *privopts,
                    struct prop_buf *out, struct prop_err *err)
{
    return prop_jwe_encrypt(privopts, c->key, c->jwk_alg, c->jwk_kid, PROP_JWE_FLATTENED, out, err);
}

static const struct scheme jwe_scheme = { PROP_SCHEME_JWE, jwe_wrap, NULL };

static int add_jwe(struct prop_recipients *r, const char *path, struct prop_err *err)
{
    struct recipient c = { .scheme = &jwe_scheme };
    int rc = prop_keyfile_public(path, &c.key, &c.jwk_kid, &c.jwk_alg, err);
    if (rc != 0)
        return rc;
    if (prop_pkey_get_type(c.key) == PROP_PKEY_ED25519) {
        recipient_release(&c);
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "recipient-key",
                               "recipient '%s': an Ed25519 key signs, it cannot receive", path);
    }
    return append(r, &c, err);
}

/* --- attestation-agent packets --- */

static int agent_wrap(const struct recipient *c, const struct prop_secret *privopts,
                      struct prop_buf *out, struct prop_err *err)
{
    return prop_packet_seal(c->kek, &c->kid, NULL, privopts, out, err);
}

/* The packet among the layer's that names this recipient's kid, opened. */
static int agent_reopen(const struct recipient *c, const struct prop_descriptor *layer,
                        struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    prop_auto_free char *uri = prop_resource_id_uri(&c->kid);
    const char *cursor = prop_descriptor_annotation(layer, PROP_ENC_KEYS PROP_SCHEME_AGENT);
    const char *block = NULL;
    size_t len = 0;
    if (!uri)
        return prop_err_nomem(err);
    while (prop_enc_next_block(&cursor, &block, &len)) {
        prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
        int rc = prop_enc_decode_block(PROP_SCHEME_AGENT, block, len, &text, err);
        if (rc == 0)
            rc = prop_packet_parse(text.data, text.len, &p, err);
        if (rc != 0)
            return rc;
        if (strcmp(p.kid, uri) == 0)
            return prop_packet_open(&p, c->kek, ret, err);
    }
    return prop_err_set_id(err, PROP_E_VERIFY, "recipient-missing",
                           "the layer holds no packet for '%s'", uri);
}

static const struct scheme agent_scheme = { PROP_SCHEME_AGENT, agent_wrap, agent_reopen };

static int check_kek(const struct prop_recipients *r, const struct prop_secret *kek,
                     const struct prop_resource_id *kid, struct prop_err *err)
{
    if (prop_secret_len(kek) != 32)
        return prop_err_set_id(err, PROP_E_INPUT, "kek-length",
                               "a key encryption key has 32 bytes, not %zu", prop_secret_len(kek));
    if (prop_kek_is_public(kek))
        return prop_err_set_id(err, PROP_E_DENIED, "public-kek",
                               "this is the key provider's sample key: everybody has it");
    if (kid->host[0]) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "kid-host", "key id names the host '%s'",
                              kid->host);
        return prop_err_hint(err, "write 'kbs:///%s/%s/%s': readers use their own key broker's "
                             "address and ignore or mistrust this one", kid->repo, kid->type,
                             kid->tag);
    }
    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].kek && prop_resource_id_same(&r->items[i].kid, kid))
            return prop_err_set_id(err, PROP_E_USAGE, "duplicate-recipient",
                                   "the key id '%s/%s/%s' is given twice", kid->repo, kid->type,
                                   kid->tag);
    return 0;
}

int prop_recipients_add_kek(struct prop_recipients *r, const struct prop_secret *kek,
                            const struct prop_resource_id *kid, struct prop_err *err)
{
    struct recipient c = { .scheme = &agent_scheme, .kid = *kid };
    int rc = check_kek(r, kek, kid, err);
    if (rc == 0)
        rc = prop_secret_copy(prop_secret_data(kek), prop_secret_len(kek), &c.kek, err);
    return rc != 0 ? rc : append(r, &c, err);
}

static int add_agent(struct prop_recipients *r, const char *text, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    prop_auto_agent_spec struct prop_agent_spec spec = { .keypath = NULL };
    struct stat st;
    int rc;
    if ((rc = prop_agent_spec_parse(text, &spec, err)) != 0 ||
        (rc = prop_kek_read(spec.keypath, &kek, err)) != 0 ||
        (rc = prop_recipients_add_kek(r, kek, &spec.kid, err)) != 0)
        return rc;
    if (stat(spec.keypath, &st) == 0 && S_ISREG(st.st_mode) && st.st_size != 32)
        (void)json_array_append_new(
            r->warnings, json_sprintf("the KEK in '%s' is base64 text: store the 32 raw bytes in "
                                      "the key broker, most readers take nothing else",
                                      spec.keypath));
    return 0;
}

/* --- arguments --- */

static int add_unsupported(struct prop_recipients *r, const char *text, struct prop_err *err)
{
    (void)r;
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "recipient-unsupported",
                           "recipient '%s': this kind cannot be written", text);
}

/* The first row that fits; `add` gets what follows the prefix. */
static const struct kind {
    const char *prefix;
    int (*add)(struct prop_recipients *r, const char *text, struct prop_err *err);
} kinds[] = {
    { "jwe:", add_jwe },
    { "provider:attestation-agent:", add_agent },
    { "provider:", add_unsupported },
    { "pkcs7:", add_unsupported },
    { "pgp:", add_unsupported },
    { "pkcs11:", add_unsupported },
};

int prop_recipients_add(struct prop_recipients *r, const char *spec, struct prop_err *err)
{
    if (strcmp(spec, "provider:attestation-agent") == 0)
        return add_agent(r, "", err);
    for (size_t i = 0; i < PROP_ARRAY_LEN(kinds); i++)
        if (prop_starts_with(spec, kinds[i].prefix))
            return kinds[i].add == add_unsupported
                       ? add_unsupported(r, spec, err)
                       : kinds[i].add(r, spec + strlen(kinds[i].prefix), err);
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-recipient", "recipient '%s' is of no known kind",
                          spec);
    return prop_err_hint(err, "jwe:PUBKEY.pem, or provider:attestation-agent:keypath=FILE::"
                         "keyid=kbs:///repo/type/tag");
}

/* --- wrapping --- */

static int encrypted_type(json_t *descriptor, struct prop_err *err)
{
    const char *type = json_string_value(json_object_get(descriptor, "mediaType"));
    if (!type)
        return prop_err_set(err, PROP_E_INPUT, "layer descriptor without a media type");
    if (strstr(type, PROP_MT_ENCRYPTED))
        return prop_err_set_id(err, PROP_E_USAGE, "already-encrypted",
                               "the layer is encrypted already ('%s')", type);
    json_t *text = json_sprintf("%s" PROP_MT_ENCRYPTED, type);
    if (!text || json_object_set_new(descriptor, "mediaType", text) != 0)
        return prop_err_nomem(err);
    return 0;
}

static int wrap_one(const struct recipient *c, const struct prop_secret *privopts,
                    json_t *descriptor, struct prop_err *err)
{
    prop_auto_buf struct prop_buf block = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    prop_auto_free char *key = prop_asprintf(PROP_ENC_KEYS "%s", c->scheme->annotation);
    if (!key)
        return prop_err_nomem(err);
    int rc = c->scheme->wrap(c, privopts, &block, err);
    return rc != 0 ? rc : prop_enc_append_block(descriptor, key, block.data, block.len, err);
}

/* Whoever's secret is at hand must get the very same options out again. */
static int reopen_all(const struct prop_recipients *r, const struct prop_secret *privopts,
                      json_t *descriptor, struct prop_err *err)
{
    const struct prop_descriptor layer = { .json = descriptor };
    for (size_t i = 0; i < r->n; i++) {
        prop_auto_secret struct prop_secret *again = NULL;
        const struct recipient *c = &r->items[i];
        int rc = c->scheme->reopen ? c->scheme->reopen(c, &layer, &again, err) : 0;
        if (rc != 0)
            return rc;
        if (again && !prop_secret_equal(again, privopts))
            return prop_err_set(err, PROP_E_BUG, "the layer key just wrapped opens to another");
    }
    return 0;
}

int prop_recipients_wrap(const struct prop_recipients *r, const struct prop_secret *privopts,
                         const char *pubopts, json_t *layer_descriptor, struct prop_err *err)
{
    int rc;
    if (r->n == 0)
        return prop_err_set_id(err, PROP_E_USAGE, "no-recipient",
                               "no recipient: nobody could ever open the layer");
    if ((rc = encrypted_type(layer_descriptor, err)) != 0)
        return rc;
    prop_enc_strip(layer_descriptor);
    for (size_t i = 0; i < r->n; i++)
        if ((rc = wrap_one(&r->items[i], privopts, layer_descriptor, err)) != 0)
            return prop_err_wrap(err, "recipient %zu of %zu", i + 1, r->n);
    prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, pubopts, strlen(pubopts));
    if (!text)
        return prop_err_nomem(err);
    rc = prop_descriptor_annotate(layer_descriptor, PROP_ENC_PUBOPTS, text, err);
    return rc != 0 ? rc : reopen_all(r, privopts, layer_descriptor, err);
}

/* --- reading back --- */

static int verify_one(const struct recipient *c, const struct prop_descriptor *layer,
                      const char *pubopts, const struct prop_digest *plain, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *privopts = NULL;
    prop_auto_layer_options struct prop_layer_options o = { .key = NULL };
    int rc;
    if ((rc = c->scheme->reopen(c, layer, &privopts, err)) != 0 ||
        (rc = prop_layer_options_read(pubopts, privopts, &o, err)) != 0)
        return rc;
    return plain ? prop_digest_check(&o.stated, plain, "the layer key's plaintext", err) : 0;
}

/* Recipients that can only be counted: as many blocks as there are of them. */
static int count_blocks(const struct prop_recipients *r, const struct scheme *scheme,
                        const struct prop_descriptor *layer, struct prop_err *err)
{
    prop_auto_free char *key = prop_asprintf(PROP_ENC_KEYS "%s", scheme->annotation);
    size_t want = 0, have = 0;
    if (!key)
        return prop_err_nomem(err);
    const char *value = prop_descriptor_annotation(layer, key);
    int rc = value ? prop_enc_count_blocks(value, &have, err) : 0;
    for (size_t i = 0; i < r->n; i++)
        want += r->items[i].scheme == scheme;
    if (rc == 0 && have < want)
        return prop_err_set_id(err, PROP_E_VERIFY, "recipient-missing",
                               "the layer holds %zu recipients of kind %s, %zu were given", have,
                               scheme->annotation, want);
    return rc;
}

int prop_recipients_verify(const struct prop_recipients *r, const struct prop_descriptor *layer,
                           const struct prop_digest *plain, struct prop_err *err)
{
    prop_auto_free char *pubopts = NULL;
    int rc = prop_enc_pubopts(layer, &pubopts, err);
    for (size_t i = 0; i < r->n && rc == 0; i++) {
        const struct recipient *c = &r->items[i];
        rc = c->scheme->reopen ? verify_one(c, layer, pubopts, plain, err)
                               : count_blocks(r, c->scheme, layer, err);
    }
    return rc;
}
