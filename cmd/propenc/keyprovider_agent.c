#include "cmd/propenc/keyprovider_agent.h"

#include "crypto/random.h"
#include "keys/kek_store.h"
#include "keys/keyfile.h"
#include "ocicrypt/agent_spec.h"
#include "ocicrypt/packet.h"
#include "store/ledger.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

enum { KEK_BYTES = 32 };

void propenc_agent_release(struct propenc_agent *a)
{
    for (size_t i = 0; i < a->n_keks; i++)
        prop_secret_free(a->keks[i]);
    prop_free(a->keks);
    prop_kbs_free(a->kbs);
    *a = (struct propenc_agent){ .kbs = NULL };
}

int propenc_agent_add_kek(struct propenc_agent *a, const char *path, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    int rc = prop_kek_read(path, &kek, err);
    if (rc != 0)
        return rc;
    struct prop_secret **more = prop_realloc_array(a->keks, a->n_keks + 1, sizeof(*more));
    if (!more)
        return prop_err_nomem(err);
    a->keks = more;
    a->keks[a->n_keks++] = PROP_TAKE(kek);
    return 0;
}

/* --- KEKs this machine keeps ------------------------------------------------------------------ */

/* The fingerprint that the ledger has for this name at our key broker, or, where none is named,
 * at any, if they agree. PROP_E_NOTFOUND: none. */
static int known_fingerprint(const struct propenc_agent *a, const char *path, char ret[17],
                             struct prop_err *err)
{
    prop_auto_ledger struct prop_ledger *l = NULL;
    prop_auto_json json_t *keys = NULL;
    size_t i;
    json_t *key;
    int rc = prop_ledger_open_existing(NULL, &l, err);
    if (rc != 0 || !l)
        return rc != 0 ? rc : PROP_E_NOTFOUND;
    if (a->kbs)
        return prop_ledger_find_key(l, prop_kbs_url(a->kbs), path, ret, err);
    if ((rc = prop_ledger_keys(l, NULL, &keys, err)) != 0)
        return rc;
    char found[17] = "";
    json_array_foreach (keys, i, key) {
        const char *name = json_string_value(json_object_get(key, "path"));
        const char *print = json_string_value(json_object_get(key, "fingerprint"));
        if (!name || !print || strcmp(name, path) != 0)
            continue;
        if (found[0] && strcmp(found, print) != 0)
            return prop_err_set_id(err, PROP_E_NOTFOUND, "no-kek",
                                   "two key brokers have different keys named '%s': name one with "
                                   "--kbs", path);
        (void)snprintf(found, sizeof found, "%s", print);
    }
    if (!found[0])
        return PROP_E_NOTFOUND;
    memcpy(ret, found, sizeof found);
    return 0;
}

/* The KEK kept for a name. PROP_E_NOTFOUND when there is none. */
static int kept_kek(const struct propenc_agent *a, const char *path, struct prop_secret **ret,
                    struct prop_err *err)
{
    char fingerprint[17];
    int rc = known_fingerprint(a, path, fingerprint, err);
    return rc == 0 ? prop_kek_store_find(fingerprint, ret, err) : rc;
}

static int broker_kek(const struct propenc_agent *a, const struct prop_resource_id *kid,
                      struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *value = NULL;
    const struct prop_kbs_attest how = { .tee = a->tee };
    int rc = prop_kbs_get_resource(a->kbs, &how, kid, &value, err);
    if (rc == 0)
        return prop_kek_from_bytes(value, "the key broker's answer", ret, err);
    return prop_err_wrap(err, "from %s", prop_kbs_url(a->kbs));
}

/* --- wrapping --------------------------------------------------------------------------------- */

/* One wrap under way. */
struct wrapping {
    const struct propenc_agent *a;
    struct prop_agent_spec spec;
    struct prop_ledger *ledger; /* open and locked while a name is being taken */
    struct prop_resource_id kid;
    char *path;
    struct prop_secret *kek;
    char fingerprint[17];
    bool there; /* the broker gave this very key out */
};

static int read_params(const struct propenc_agent *a, const char *const *params, size_t n,
                       struct prop_agent_spec *ret, struct prop_err *err)
{
    unsigned flags = PROP_AGENT_NO_KEYPATH;
    const char *text = n && strcmp(params[0], "Enabled") != 0 ? params[0] : "";
    if (n > 1)
        return prop_err_set_id(err, PROP_E_USAGE, "keyprovider-params",
                               "one call makes one key packet, and %zu recipients are asked for: "
                               "encrypt for one, add the others with 'propenc rewrap'", n);
    if (a->may_upload)
        flags |= PROP_AGENT_NO_KEYID;
    if (a->allow_ctr)
        flags |= PROP_AGENT_CTR;
    return prop_agent_spec_parse_as(text, flags, ret, err);
}

/* A name of its own, as coco_keyprovider makes one, but one that the Confidential Data Hub can
 * fetch (ocicrypt.md 8.2). */
static void fresh_kid(struct prop_resource_id *ret)
{
    uint8_t r[16];
    char hex[33];
    prop_random(r, sizeof r);
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40); /* RFC 9562 section 5.4 */
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    prop_hex_encode(r, sizeof r, hex);
    *ret = (struct prop_resource_id){ .host = "", .repo = "default", .type = "image-kek" };
    (void)snprintf(ret->tag, sizeof ret->tag, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                   hex + 16, hex + 20);
}

static int choose_name(struct wrapping *w, struct prop_err *err)
{
    w->kid = w->spec.kid;
    if (!w->spec.has_kid)
        fresh_kid(&w->kid);
    if (w->kid.host[0]) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "kid-host",
                              "the key id names the key broker '%s'; readers ask their own",
                              w->kid.host);
        return prop_err_hint(err, "keyid=kbs:///%s/%s/%s", w->kid.repo, w->kid.type, w->kid.tag);
    }
    w->path = prop_resource_id_path(&w->kid);
    return w->path ? 0 : prop_err_nomem(err);
}

static int no_kek(const char *path, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-kek",
                          "there is no key for '%s' here, and none can be made that readers would "
                          "get", path);
    return prop_err_hint(err, "give keypath=FILE in the recipient, or the provider --kbs with "
                              "--admin-key, so that a new key can be uploaded");
}

/* What the broker has under this name, where this machine may see it. A refusal tells nothing. */
static int ask_broker(struct wrapping *w, struct prop_secret **ret, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    if (!w->a->kbs || w->a->tee == PROP_TEE_NONE || !w->spec.has_kid)
        return 0;
    int rc = broker_kek(w->a, &w->kid, ret, &inner);
    if (rc == 0 || rc == PROP_E_NOTFOUND || rc == PROP_E_DENIED || rc == PROP_E_AUTH)
        return 0;
    if (err)
        *err = inner;
    return rc;
}

/* No keypath: kept here, given out by the broker, or made. */
static int find_or_make(struct wrapping *w, struct prop_err *err)
{
    struct prop_err inner = PROP_ERR_INIT;
    int rc = kept_kek(w->a, w->path, &w->kek, &inner);
    if (rc == 0)
        return 0;
    bool taken = strcmp(prop_err_id(&inner), "kek-not-kept") == 0;
    if (rc != PROP_E_NOTFOUND || strcmp(prop_err_id(&inner), "no-kek") == 0) {
        if (err)
            *err = inner;
        return rc;
    }
    if ((rc = ask_broker(w, &w->kek, err)) != 0)
        return rc;
    w->there = w->kek != NULL;
    if (w->there)
        return 0;
    if (taken) {
        if (err)
            *err = inner;
        return PROP_E_NOTFOUND;
    }
    if (!w->a->may_upload)
        return no_kek(w->path, err);
    rc = prop_random_secret(KEK_BYTES, &w->kek, err);
    return rc == 0 ? prop_kek_store_new(w->kek, NULL, err) : rc;
}

static int in_use(const struct wrapping *w, const char *where, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_EXISTS, "kid-in-use",
                          "key name '%s' is in use with another key (%s)", w->path, where);
    return prop_err_hint(err, "take another keyid, or let the provider overwrite it with "
                              "--replace-key: images under it can then not be opened any more");
}

/* May this key be uploaded under that name? A POST overwrites whatever is there. */
static int check_name(struct wrapping *w, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *there = NULL;
    char known[17];
    struct prop_err inner = PROP_ERR_INIT;
    if (w->a->replace_key)
        return 0;
    int rc = prop_ledger_find_key(w->ledger, prop_kbs_url(w->a->kbs), w->path, known, &inner);
    if (rc != 0 && rc != PROP_E_NOTFOUND) {
        if (err)
            *err = inner;
        return rc;
    }
    if (rc == 0 && strcmp(known, w->fingerprint) != 0)
        return in_use(w, "the ledger of this machine", err);
    if ((rc = ask_broker(w, &there, err)) != 0 || !there)
        return rc;
    w->there = prop_secret_equal(there, w->kek);
    return w->there ? 0 : in_use(w, "the key broker", err);
}

/* The answer is read: nothing is wrapped with a key that nobody can get. */
static int upload(struct wrapping *w, struct prop_err *err)
{
    int rc = w->there ? 0 : check_name(w, err);
    if (rc == 0 && !w->there)
        rc = prop_kbs_set_resource(w->a->kbs, &w->kid, w->kek, err);
    if (rc != 0)
        return rc;
    return prop_ledger_add_key(w->ledger, prop_kbs_url(w->a->kbs), w->path, w->fingerprint, NULL,
                               err);
}

static int choose_key(struct wrapping *w, struct prop_err *err)
{
    int rc = w->spec.keypath ? prop_kek_read(w->spec.keypath, &w->kek, err) : find_or_make(w, err);
    if (rc != 0)
        return rc;
    if (prop_kek_is_public(w->kek))
        return prop_err_set_id(err, PROP_E_DENIED, "public-kek",
                               "that is the key provider's published sample key");
    return prop_kek_fingerprint(w->kek, w->fingerprint, err);
}

static int seal(const struct wrapping *w, const struct prop_secret *privopts, struct prop_buf *out,
                struct prop_err *err)
{
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    prop_auto_secret struct prop_secret *back = NULL;
    int rc = w->spec.ctr ? prop_packet_seal_ctr(w->kek, &w->kid, NULL, privopts, out, err)
                         : prop_packet_seal(w->kek, &w->kid, NULL, privopts, out, err);
    if (rc == 0)
        rc = prop_packet_parse(out->data, out->len, &p, err);
    if (rc == 0)
        rc = prop_packet_open(&p, w->kek, &back, err);
    if (rc == 0 && !prop_secret_equal(back, privopts))
        rc = prop_err_set(err, PROP_E_BUG, "the new key packet does not open");
    return rc;
}

static int wrap_locked(struct wrapping *w, const struct prop_secret *privopts, struct prop_buf *out,
                       struct prop_err *err)
{
    int rc = choose_key(w, err);
    if (rc == 0 && w->a->may_upload)
        rc = upload(w, err);
    return rc == 0 ? seal(w, privopts, out, err) : rc;
}

int propenc_agent_wrap(void *ctx, const char *const *params, size_t n_params,
                       const struct prop_secret *privopts, struct prop_buf *out,
                       struct prop_err *err)
{
    struct wrapping w = { .a = ctx };
    int rc = read_params(w.a, params, n_params, &w.spec, err);
    if (rc == 0)
        rc = choose_name(&w, err);
    if (rc == 0 && w.a->may_upload && (rc = prop_ledger_open(NULL, &w.ledger, err)) == 0)
        rc = prop_ledger_lock(w.ledger, err); /* providers of one machine agree on a key */
    if (rc == 0) {
        rc = wrap_locked(&w, privopts, out, err);
        if (w.ledger)
            prop_ledger_unlock(w.ledger);
    }
    prop_ledger_close(w.ledger);
    prop_agent_spec_release(&w.spec);
    prop_secret_free(w.kek);
    prop_free(w.path);
    return rc;
}

/* --- unwrapping ------------------------------------------------------------------------------- */

/* KEKs at hand: 0 when one opens the packet; else the failure that says most. */
static int open_at_hand(const struct propenc_agent *a, const struct prop_packet *p,
                        const char *path, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kept = NULL;
    int rc = PROP_E_NOTFOUND;
    for (size_t i = 0; i < a->n_keks; i++)
        if ((rc = prop_packet_open(p, a->keks[i], ret, err)) == 0)
            return 0;
    struct prop_err inner = PROP_ERR_INIT;
    if (kept_kek(a, path, &kept, &inner) != 0)
        return rc;
    prop_err_clear(err);
    return prop_packet_open(p, kept, ret, err);
}

static int open_with_broker(const struct propenc_agent *a, const struct prop_packet *p,
                            const struct prop_resource_id *kid, struct prop_secret **ret,
                            struct prop_err *err)
{
    prop_auto_secret struct prop_secret *kek = NULL;
    int rc = broker_kek(a, kid, &kek, err);
    return rc == 0 ? prop_packet_open(p, kek, ret, err) : rc;
}

static int no_way(const struct propenc_agent *a, const char *path, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-kek", "there is no key for '%s' here%s", path,
                          a->kbs ? ", and this machine shows no sign of SEV-SNP or TDX to ask the "
                                   "key broker with" : "");
    return prop_err_hint(err, "give the provider --kek FILE, or --kbs URL%s",
                         a->kbs ? " inside a confidential VM (--tee sample for tests)" : "");
}

static int check_packet(const struct propenc_agent *a, const struct prop_packet *p,
                        struct prop_resource_id *ret_kid, struct prop_err *err)
{
    if (!p->has_tag && !a->allow_ctr) {
        (void)prop_err_set_id(err, PROP_E_DENIED, "a256ctr-refused",
                              "the key packet is wrapped with A256CTR, which has no integrity");
        return prop_err_hint(err, "start the provider with --allow-a256ctr to take it anyway");
    }
    return prop_resource_id_parse(p->kid, true, ret_kid, err);
}

int propenc_agent_unwrap(void *ctx, const char *const *params, size_t n_params,
                         const void *annotation, size_t len, struct prop_secret **ret,
                         struct prop_err *err)
{
    const struct propenc_agent *a = ctx;
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    struct prop_resource_id kid;
    (void)params; /* a file they name would be opened with our rights for whoever asks */
    (void)n_params;
    int rc = prop_packet_parse(annotation, len, &p, err);
    if (rc == 0)
        rc = check_packet(a, &p, &kid, err);
    if (rc != 0)
        return rc;
    prop_auto_free char *path = prop_resource_id_path(&kid);
    if (!path)
        return prop_err_nomem(err);
    rc = open_at_hand(a, &p, path, ret, err);
    if (rc != PROP_E_NOTFOUND && (rc != PROP_E_VERIFY || !a->kbs || a->tee == PROP_TEE_NONE))
        return rc;
    if (!a->kbs || a->tee == PROP_TEE_NONE)
        return no_way(a, path, err);
    prop_err_clear(err);
    return open_with_broker(a, &p, &kid, ret, err);
}
