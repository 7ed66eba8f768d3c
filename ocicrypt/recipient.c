/* Recipients: the list, reading `-r` arguments, wrapping private options for each, and the check
 * that what was written opens again. */
#include "ocicrypt/recipient.h"

#include "ocicrypt/annot.h"
#include "ocicrypt/options.h"
#include "ocicrypt/recipient_internal.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/text.h"

#include <stdarg.h>
#include <string.h>

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

static void recipient_release(struct prop_recipient *c)
{
    prop_free(c->annotation);
    prop_pkey_free(c->key);
    prop_free(c->jwk_kid);
    prop_free(c->alg);
    prop_cert_free(c->cert);
    prop_secret_free(c->kek);
    for (size_t i = 0; i < c->n_params; i++)
        prop_free(c->params[i]);
    prop_free(c->params);
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

void prop_recipients_set_supply(struct prop_recipients *r, const struct prop_kek_supply *supply)
{
    r->supply = *supply;
}

void prop_recipients_allow_a256ctr(struct prop_recipients *r, bool allow)
{
    r->allow_ctr = allow;
}

void prop_recipients_set_openers(struct prop_recipients *r, const struct prop_openers *openers)
{
    r->openers = openers;
}

void prop_recipients_set_providers(struct prop_recipients *r, const struct prop_kp_config *config,
                                   bool agent_is_external)
{
    r->config = config;
    r->agent_is_external = agent_is_external;
}

size_t prop_recipients_count(const struct prop_recipients *r)
{
    return r->n;
}

const json_t *prop_recipients_warnings(const struct prop_recipients *r)
{
    return r->warnings;
}

void prop_recipients_warn(struct prop_recipients *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)json_array_append_new(r->warnings, json_vsprintf(fmt, ap));
    va_end(ap);
}

static int append(struct prop_recipients *r, struct prop_recipient *c, const char *annotation,
                  struct prop_err *err)
{
    if (r->n >= PROP_LIMIT_RECIPIENTS)
        return prop_err_set(err, PROP_E_LIMIT, "more than %d recipients", PROP_LIMIT_RECIPIENTS);
    if (!(c->annotation = prop_strdup(annotation)))
        return prop_err_nomem(err);
    struct prop_recipient *more = prop_realloc_array(r->items, r->n + 1, sizeof(*more));
    if (!more)
        return prop_err_nomem(err);
    r->items = more;
    r->items[r->n++] = *c;
    return 0;
}

int prop_recipients_append_new(struct prop_recipients *r, struct prop_recipient *c,
                               const char *annotation, struct prop_err *err)
{
    int rc = append(r, c, annotation, err);
    if (rc != 0) {
        recipient_release(c);
        return rc;
    }
    if (!r->warned_schemes && strcmp(r->items[0].annotation, annotation) != 0) {
        r->warned_schemes = true;
        prop_recipients_warn(r, "several key schemes on one layer: readers built on the Rust "
                             "library (image-rs) fail at random; one scheme is safest");
    }
    return 0;
}

/* --- arguments --- */

static int add_unsupported(struct prop_recipients *r, const char *text, struct prop_err *err)
{
    (void)r;
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "recipient-unsupported",
                           "recipient '%s': this kind cannot be written", text);
}

/* "attestation-agent[:PARAMS]" is ours; every other name a provider of the configuration. */
static int add_provider(struct prop_recipients *r, const char *text, struct prop_err *err)
{
    static const char agent[] = "attestation-agent";
    size_t len = strcspn(text, ":");
    if (r->agent_is_external || len != strlen(agent) || strncmp(text, agent, len) != 0)
        return prop_recipients_add_external(r, text, err);
    return prop_recipients_add_agent(r, text[len] ? text + len + 1 : "", err);
}

/* The first row that fits; `add` gets what follows the prefix. */
static const struct kind {
    const char *prefix;
    int (*add)(struct prop_recipients *r, const char *text, struct prop_err *err);
} kinds[] = {
    { "jwe:", prop_recipients_add_jwe },
    { "provider:", add_provider },
    { "pkcs7:", prop_recipients_add_pkcs7 },
    { "pgp:", add_unsupported },
    { "pkcs11:", add_unsupported },
};

int prop_recipients_add(struct prop_recipients *r, const char *spec, struct prop_err *err)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(kinds); i++)
        if (prop_starts_with(spec, kinds[i].prefix))
            return kinds[i].add == add_unsupported
                       ? add_unsupported(r, spec, err)
                       : kinds[i].add(r, spec + strlen(kinds[i].prefix), err);
    (void)prop_err_set_id(err, PROP_E_USAGE, "bad-recipient", "recipient '%s' is of no known kind",
                          spec);
    return prop_err_hint(err, "jwe:PUBKEY.pem, pkcs7:CERT.pem, or provider:attestation-agent:"
                         "keypath=FILE::keyid=kbs:///repo/type/tag");
}

/* --- the layer's blocks --- */

/* Go through the blocks of the recipient's annotation until `visit` returns something but 0; blocks
 * that are not base64 are passed over. */
typedef int (*visit_fn)(void *ctx, const struct prop_recipients *r, const struct prop_recipient *c,
                        const struct prop_buf *block, struct prop_err *err);

static int for_blocks(const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_descriptor *layer, visit_fn visit, void *ctx,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf block = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    prop_auto_free char *key = prop_asprintf(PROP_ENC_KEYS "%s", c->annotation);
    const char *text = NULL;
    size_t len = 0, n = 0;
    if (!key)
        return prop_err_nomem(err);
    const char *cursor = prop_descriptor_annotation(layer, key);
    int rc = cursor ? prop_enc_count_blocks(cursor, &n, err) : 0;
    while (rc == 0 && prop_enc_next_block(&cursor, &text, &len))
        if (prop_enc_decode_block(c->annotation, text, len, &block, NULL) == 0)
            rc = visit(ctx, r, c, &block, err);
    return rc;
}

#define FOUND 1

struct reopened {
    struct prop_secret *privopts;
    struct prop_err err; /* of the block that was nearest */
};

static int visit_open(void *ctx, const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_buf *block, struct prop_err *err)
{
    struct reopened *o = ctx;
    struct prop_err e = PROP_ERR_INIT;
    int rc = c->scheme->open(r, c, block, &o->privopts, &e);
    if (rc == 0)
        return FOUND;
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    /* "Not mine" never hides that one of mine does not open. */
    if (o->err.code == PROP_OK || strcmp(prop_err_id(&o->err), "recipient-missing") == 0)
        o->err = e;
    return 0;
}

/* The private options that the layer holds for a recipient whose key is at hand. */
static int reopen(const struct prop_recipients *r, const struct prop_recipient *c,
                  const struct prop_descriptor *layer, struct prop_secret **ret,
                  struct prop_err *err)
{
    struct reopened o = { .privopts = NULL, .err = PROP_ERR_INIT };
    int rc = for_blocks(r, c, layer, visit_open, &o, err);
    if (rc == FOUND) {
        *ret = o.privopts;
        return 0;
    }
    if (rc == 0 && o.err.code != PROP_OK) {
        if (err)
            *err = o.err;
        return (int)o.err.code;
    }
    return rc != 0 ? rc
                   : prop_err_set_id(err, PROP_E_VERIFY, "recipient-missing",
                                     "the layer holds no key for a recipient of kind %s",
                                     c->annotation);
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

/* Wrap for one, and where the key is at hand get the very same options out again. */
static int wrap_block(const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_secret *privopts, struct prop_buf *block,
                      struct prop_err *err)
{
    prop_auto_secret struct prop_secret *again = NULL;
    int rc = c->scheme->wrap(r, c, privopts, block, err);
    if (rc != 0 || !c->scheme->at_hand(r, c))
        return rc;
    if ((rc = c->scheme->open(r, c, block, &again, err)) != 0)
        return prop_err_wrap(err, "open what was just wrapped");
    if (!prop_secret_equal(again, privopts))
        return prop_err_set(err, PROP_E_BUG, "the layer key just wrapped opens to another");
    return 0;
}

static int wrap_one(const struct prop_recipients *r, const struct prop_recipient *c,
                    const struct prop_secret *privopts, json_t *descriptor, struct prop_err *err)
{
    prop_auto_buf struct prop_buf block = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    prop_auto_free char *key = prop_asprintf(PROP_ENC_KEYS "%s", c->annotation);
    if (!key)
        return prop_err_nomem(err);
    int rc = wrap_block(r, c, privopts, &block, err);
    return rc != 0 ? rc : prop_enc_append_block(descriptor, key, block.data, block.len, err);
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
        if ((rc = wrap_one(r, &r->items[i], privopts, layer_descriptor, err)) != 0)
            return prop_err_wrap(err, "recipient %zu of %zu", i + 1, r->n);
    prop_auto_free char *text = prop_b64_encode(PROP_B64_STD, pubopts, strlen(pubopts));
    if (!text)
        return prop_err_nomem(err);
    return prop_descriptor_annotate(layer_descriptor, PROP_ENC_PUBOPTS, text, err);
}

/* --- adding to a layer --- */

static int visit_named(void *ctx, const struct prop_recipients *r, const struct prop_recipient *c,
                       const struct prop_buf *block, struct prop_err *err)
{
    (void)ctx;
    (void)r;
    (void)err;
    return c->scheme->is_named(c, block) ? FOUND : 0;
}

/* Is the recipient on the layer already? Where the key is at hand only a block that opens to the
 * layer's own options counts. */
static int is_there(const struct prop_recipients *r, const struct prop_recipient *c,
                    const struct prop_secret *privopts, const struct prop_descriptor *layer,
                    bool *ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *have = NULL;
    int rc = 0;
    *ret = false;
    if (c->scheme->at_hand(r, c)) {
        if ((rc = reopen(r, c, layer, &have, NULL)) == PROP_E_NOMEM)
            return prop_err_nomem(err);
        *ret = rc == 0 && prop_secret_equal(have, privopts);
        return 0;
    }
    if (c->scheme->is_named)
        rc = for_blocks(r, c, layer, visit_named, NULL, err);
    *ret = rc == FOUND;
    return rc == FOUND ? 0 : rc;
}

int prop_recipients_append(const struct prop_recipients *r, const struct prop_secret *privopts,
                           json_t *layer_descriptor, size_t *ret_added, struct prop_err *err)
{
    const struct prop_descriptor layer = { .json = layer_descriptor };
    size_t added = 0;
    for (size_t i = 0; i < r->n; i++) {
        bool there = false;
        int rc = is_there(r, &r->items[i], privopts, &layer, &there, err);
        if (rc == 0 && !there)
            rc = wrap_one(r, &r->items[i], privopts, layer_descriptor, err);
        if (rc != 0)
            return prop_err_wrap(err, "recipient %zu of %zu", i + 1, r->n);
        added += !there;
    }
    *ret_added = added;
    return 0;
}

/* --- reading back --- */

static int verify_one(const struct prop_recipients *r, const struct prop_recipient *c,
                      const struct prop_descriptor *layer, const char *pubopts,
                      const struct prop_digest *plain, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *privopts = NULL;
    prop_auto_layer_options struct prop_layer_options o = { .key = NULL };
    int rc;
    if ((rc = reopen(r, c, layer, &privopts, err)) != 0 ||
        (rc = prop_layer_options_read(pubopts, privopts, &o, err)) != 0)
        return rc;
    return plain ? prop_digest_check(&o.stated, plain, "the layer key's plaintext", err) : 0;
}

/* Recipients that can only be counted: as many blocks as there are of them. */
static int count_blocks(const struct prop_recipients *r, const char *annotation,
                        const struct prop_descriptor *layer, struct prop_err *err)
{
    prop_auto_free char *key = prop_asprintf(PROP_ENC_KEYS "%s", annotation);
    size_t want = 0, have = 0;
    if (!key)
        return prop_err_nomem(err);
    const char *value = prop_descriptor_annotation(layer, key);
    int rc = value ? prop_enc_count_blocks(value, &have, err) : 0;
    for (size_t i = 0; i < r->n; i++)
        want += strcmp(r->items[i].annotation, annotation) == 0;
    if (rc == 0 && have < want)
        return prop_err_set_id(err, PROP_E_VERIFY, "recipient-missing",
                               "the layer holds %zu recipients of kind %s, %zu were given", have,
                               annotation, want);
    return rc;
}

int prop_recipients_verify(const struct prop_recipients *r, const struct prop_descriptor *layer,
                           const struct prop_digest *plain, struct prop_err *err)
{
    prop_auto_free char *pubopts = NULL;
    int rc = prop_enc_pubopts(layer, &pubopts, err);
    for (size_t i = 0; i < r->n && rc == 0; i++) {
        const struct prop_recipient *c = &r->items[i];
        rc = c->scheme->at_hand(r, c) ? verify_one(r, c, layer, pubopts, plain, err)
                                      : count_blocks(r, c->annotation, layer, err);
    }
    return rc;
}
