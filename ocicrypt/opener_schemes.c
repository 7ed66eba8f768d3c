/* Openers: what opens a block of each scheme. A row per scheme; two rounds: keys at hand first,
 * then those that have to be asked for, since asking takes time and tells somebody. */
#include "ocicrypt/opener_internal.h"

#include "crypto/pkcs7.h"
#include "jose/jwe.h"
#include "keyprovider/keyprovider.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/packet.h"
#include "util/text.h"

#include <string.h>

#define QUESTIONS 8       /* per layer: a manifest must not make us flood a key broker */
#define FAILED_FETCHES 64 /* over all layers of one run */
#define KNOWN_KEKS 64

void prop_attempt_failed(struct prop_attempt *a, enum prop_rank rank, const struct prop_err *err)
{
    if (rank <= a->rank)
        return;
    a->rank = rank;
    a->err = *err;
}

enum prop_rank prop_attempt_rank(int code)
{
    switch (code) {
    case PROP_E_VERIFY:
        return PROP_RANK_WRONG_KEY;
    case PROP_E_UNSUPPORTED:
        return PROP_RANK_UNSUPPORTED;
    case PROP_E_NOMEM:
    case PROP_E_BUG:
        return PROP_RANK_SOURCE;
    default:
        return PROP_RANK_MALFORMED;
    }
}

static bool fail(struct prop_attempt *a, int rc, const struct prop_err *err)
{
    prop_attempt_failed(a, prop_attempt_rank(rc), err);
    return false;
}

/* One more question of this layer; beyond the limit nobody is asked. */
static bool may_ask(struct prop_attempt *a)
{
    struct prop_err err = PROP_ERR_INIT;
    if (++a->questions <= QUESTIONS && a->o->failed_fetches < FAILED_FETCHES)
        return true;
    (void)prop_err_set(&err, PROP_E_LIMIT, "the image names more than %d keys that do not open it",
                       a->questions > QUESTIONS ? QUESTIONS : FAILED_FETCHES);
    prop_attempt_failed(a, PROP_RANK_SOURCE, &err);
    return false;
}

/* --- key packets --- */

static bool try_kek(struct prop_attempt *a, const struct prop_packet *p,
                    const struct prop_secret *kek)
{
    struct prop_err err = PROP_ERR_INIT;
    int rc = prop_packet_open(p, kek, &a->found, &err);
    return rc == 0 || fail(a, rc, &err);
}

/* The KEK that was given for this kid before, or NULL. */
static const struct prop_secret *known_kek(const struct prop_openers *o,
                                           const struct prop_resource_id *kid)
{
    for (size_t i = 0; i < o->n_known; i++)
        if (prop_resource_id_same(&o->known[i].kid, kid) &&
            strcmp(o->known[i].kid.host, kid->host) == 0)
            return o->known[i].kek;
    return NULL;
}

/* Keep the KEK for the other layers; without memory or room it is asked for again. Takes it. */
static void keep_kek(struct prop_openers *o, const struct prop_resource_id *kid,
                     struct prop_secret *kek)
{
    struct prop_known_kek *more = NULL;
    if (o->n_known < KNOWN_KEKS)
        more = prop_realloc_array(o->known, o->n_known + 1, sizeof(*more));
    if (!more) {
        prop_secret_free(kek);
        return;
    }
    o->known = more;
    o->known[o->n_known++] = (struct prop_known_kek){ *kid, kek };
}

static int ask_source(struct prop_attempt *a, const struct prop_resource_id *kid,
                      struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    int rc = a->o->source(a->o->source_ctx, kid, &kek, err);
    if (rc == 0 && prop_kek_is_public(kek))
        rc = prop_err_set_id(err, PROP_E_DENIED, "public-kek",
                             "the key of '%s/%s/%s' is the key provider's sample key", kid->repo,
                             kid->type, kid->tag);
    if (rc == 0)
        *ret = PROP_TAKE(kek);
    return rc;
}

/* The KEK source, for the packet's kid. */
static bool try_source(struct prop_attempt *a, const struct prop_packet *p)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_resource_id kid;
    struct prop_secret *kek = NULL;
    int rc = prop_resource_id_parse(p->kid, true, &kid, &err);
    const struct prop_secret *known = rc == 0 ? known_kek(a->o, &kid) : NULL;
    if (known)
        return try_kek(a, p, known);
    if (rc == 0 && !may_ask(a))
        return false;
    if (rc == 0)
        rc = ask_source(a, &kid, &kek, &err);
    if (rc != 0) {
        a->o->failed_fetches++;
        prop_attempt_failed(a, PROP_RANK_SOURCE, &err);
        return false;
    }
    bool opened = try_kek(a, p, kek);
    a->o->failed_fetches += !opened;
    keep_kek(a->o, &kid, kek);
    return opened;
}

static bool try_packet(struct prop_attempt *a, const char *scheme, const struct prop_buf *block)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    bool ours = strcmp(scheme, PROP_SCHEME_AGENT) == 0;
    if (a->ask && (!a->o->source || !ours))
        return false;
    int rc = prop_packet_parse(block->data, block->len, &p, &err);
    if (rc != 0)
        return fail(a, rc, &err);
    if (!p.has_tag && !a->o->allow_ctr) {
        (void)prop_err_set_id(&err, PROP_E_DENIED, "a256ctr-refused",
                              "the layer key is wrapped with A256CTR, which has no integrity");
        prop_attempt_failed(a, PROP_RANK_REFUSED, &err);
        return false;
    }
    if (a->ask)
        return try_source(a, &p);
    for (size_t i = 0; i < a->o->n_keks; i++)
        if (try_kek(a, &p, a->o->keks[i]))
            return true;
    return false;
}

/* --- key providers of a configuration --- */

static bool ask_provider(struct prop_attempt *a, const struct prop_opener_provider *p,
                         const struct prop_buf *block)
{
    struct prop_err err = PROP_ERR_INIT;
    if (!may_ask(a))
        return false;
    int rc = prop_kp_unwrap(a->o->config, p->name, (const char *const *)p->params, p->n_params,
                            block->data, block->len, &a->found, &err);
    if (rc == 0)
        return true;
    a->o->failed_fetches++;
    prop_attempt_failed(a, PROP_RANK_SOURCE, &err);
    return false;
}

/* Packets are tried whatever the provider's name: others write that form too. A provider that the
 * user named is asked instead of the key broker. */
static bool try_provider(struct prop_attempt *a, const char *scheme, const struct prop_buf *block)
{
    const struct prop_opener_provider *p = prop_opener_provider_find(a->o, scheme);
    if (a->ask && p)
        return ask_provider(a, p, block);
    /* A block that only a provider reads is no failure as long as no KEK was offered for it. */
    if (!a->ask && a->o->n_keks == 0 && (p || strcmp(scheme, PROP_SCHEME_AGENT) != 0))
        return false;
    return try_packet(a, scheme, block);
}

/* --- keys in files --- */

static bool try_jwe(struct prop_attempt *a, const char *scheme, const struct prop_buf *block)
{
    (void)scheme;
    for (size_t i = 0; i < a->o->n_keys && !a->ask; i++) {
        struct prop_err err = PROP_ERR_INIT;
        int rc = prop_jwe_decrypt((const char *)block->data, block->len, a->o->keys[i], &a->found,
                                  &err);
        if (rc == 0)
            return true;
        (void)fail(a, rc, &err);
    }
    return false;
}

static bool try_certificate(struct prop_attempt *a, const struct prop_pkcs7 *p,
                            const struct prop_cert *cert)
{
    struct prop_err err = PROP_ERR_INIT;
    const struct prop_pkey *key = prop_openers_private_of(a->o, prop_cert_key(cert));
    int rc;
    if (key) {
        rc = prop_pkcs7_open(p, cert, key, &a->found, &err);
    } else {
        rc = prop_err_set_id(&err, PROP_E_VERIFY, "pkcs7-no-key",
                             prop_pkcs7_names(p, cert)
                                 ? "the private key of the certificate is not among the keys"
                                 : "the PKCS#7 message is not for this certificate");
        (void)prop_err_hint(&err, "pkcs7 recipients need both: --key CERT.pem --key KEY.pem");
    }
    return rc == 0 || fail(a, rc, &err);
}

static bool try_pkcs7(struct prop_attempt *a, const char *scheme, const struct prop_buf *block)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_pkcs7 struct prop_pkcs7 p = PROP_PKCS7_INIT;
    (void)scheme;
    if (a->ask || a->o->n_certs == 0)
        return false;
    int rc = prop_pkcs7_parse(block->data, block->len, &p, &err);
    if (rc != 0)
        return fail(a, rc, &err);
    for (size_t i = 0; i < a->o->n_certs; i++)
        if (try_certificate(a, &p, a->o->certs[i]))
            return true;
    return false;
}

prop_opener_fn prop_opener_find(const char *scheme)
{
    if (strcmp(scheme, PROP_SCHEME_JWE) == 0)
        return try_jwe;
    if (strcmp(scheme, PROP_SCHEME_PKCS7) == 0)
        return try_pkcs7;
    return prop_starts_with(scheme, PROP_SCHEME_PROVIDER) ? try_provider : NULL;
}
