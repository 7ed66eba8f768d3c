/* Openers: every block of every scheme is tried with every key that fits, and the likeliest cause
 * is reported when none opens. */
#include "ocicrypt/recipient.h"

#include "jose/jwe.h"
#include "jose/jwk.h"
#include "keys/keyfile.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/packet.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>
#include <unistd.h>

#define KEK_FETCHES 8 /* kids asked for per layer: a manifest must not make us flood a key broker */

struct prop_openers {
    struct prop_pkey **keys;
    size_t n_keys;
    struct prop_secret **keks;
    size_t n_keks;
    bool allow_ctr;
    prop_kek_fn source;
    void *source_ctx;
};

/* How near a failure was to success; the highest is told. */
enum rank {
    RANK_NONE,
    RANK_MALFORMED,
    RANK_UNSUPPORTED,
    RANK_WRONG_KEY,
    RANK_REFUSED,
    RANK_SOURCE
};

struct attempt {
    struct prop_openers *o;
    enum rank rank;
    struct prop_err err; /* of that rank */
    unsigned fetches;
    struct prop_secret *found;
};

int prop_openers_new(struct prop_openers **ret, struct prop_err *err)
{
    struct prop_openers *o = prop_zalloc(sizeof(*o));
    if (!o)
        return prop_err_nomem(err);
    *ret = o;
    return 0;
}

void prop_openers_free(struct prop_openers *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->n_keys; i++)
        prop_pkey_free(o->keys[i]);
    for (size_t i = 0; i < o->n_keks; i++)
        prop_secret_free(o->keks[i]);
    prop_free(o->keys);
    prop_free(o->keks);
    prop_free(o);
}

/* Take a key over, also on failure. */
static int take_key(struct prop_openers *o, struct prop_pkey *key, struct prop_err *err)
{
    struct prop_pkey **more = prop_realloc_array(o->keys, o->n_keys + 1, sizeof(*more));
    if (!more) {
        prop_pkey_free(key);
        return prop_err_nomem(err);
    }
    o->keys = more;
    o->keys[o->n_keys++] = key;
    return 0;
}

static int take_kek(struct prop_openers *o, struct prop_secret *kek, struct prop_err *err)
{
    struct prop_secret **more = prop_realloc_array(o->keks, o->n_keks + 1, sizeof(*more));
    if (!more) {
        prop_secret_free(kek);
        return prop_err_nomem(err);
    }
    o->keks = more;
    o->keks[o->n_keks++] = kek;
    return 0;
}

int prop_openers_add_kek(struct prop_openers *o, const struct prop_secret *kek,
                         struct prop_err *err)
{
    struct prop_secret *copy = NULL;
    int rc = prop_secret_copy(prop_secret_data(kek), prop_secret_len(kek), &copy, err);
    return rc != 0 ? rc : take_kek(o, copy, err);
}

void prop_openers_allow_a256ctr(struct prop_openers *o, bool allow)
{
    o->allow_ctr = allow;
}

void prop_openers_set_kek_source(struct prop_openers *o, prop_kek_fn fn, void *ctx)
{
    o->source = fn;
    o->source_ctx = ctx;
}

static int import_jwk(const struct prop_secret *text, const char *path, struct prop_pkey **ret,
                      struct prop_err *err)
{
    prop_auto_json json_t *jwk = NULL;
    int rc = prop_json_parse((const char *)prop_secret_data(text), prop_secret_len(text), path,
                             &jwk, err);
    return rc != 0 ? rc : prop_jwk_import(jwk, path, ret, err);
}

/* A private key from a file's bytes, which were read once: it may be a pipe. */
static int add_private(struct prop_openers *o, const struct prop_secret *text, const char *path,
                       struct prop_err *err)
{
    struct prop_pkey *key = NULL;
    const char *bytes = (const char *)prop_secret_data(text);
    bool jwk = bytes[strspn(bytes, " \t\r\n")] == '{';
    int rc = jwk ? import_jwk(text, path, &key, err)
                 : prop_pkey_load_private(text, NULL, path, &key, err);
    if (rc != 0 && strstr(bytes, "-----BEGIN CERTIFICATE"))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-unsupported",
                               "'%s' is a certificate: pkcs7 recipients cannot be opened", path);
    if (rc == PROP_E_AUTH)
        return prop_err_hint(err, "--key %s:file=PASSPHRASE-FILE", path);
    if (rc != 0)
        return rc;
    if (!prop_pkey_is_private(key)) {
        prop_pkey_free(key);
        return prop_err_set_id(err, PROP_E_INPUT, "not-private",
                               "'%s' is a public key: it encrypts, it does not open", path);
    }
    return take_key(o, key, err);
}

/* "F:file=PW" and kin; a file that is there under the whole name wins. */
static bool has_password(const char *spec)
{
    return strchr(spec, ':') && access(spec, F_OK) != 0;
}

int prop_openers_add(struct prop_openers *o, const char *spec, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    struct prop_secret *kek = NULL;
    struct prop_pkey *key = NULL;
    if (prop_starts_with(spec, "provider:"))
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-unsupported",
                               "key '%s': key providers cannot be asked", spec);
    if (has_password(spec)) {
        int rc = prop_keyfile_private_spec(spec, &key, NULL, err);
        return rc != 0 ? rc : take_key(o, key, err);
    }
    int rc = prop_file_read_secret(spec, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_PRIVATE, &text, err);
    if (rc != 0)
        return rc;
    if (prop_kek_from_bytes(text, spec, &kek, NULL) == 0)
        return take_kek(o, kek, err);
    return add_private(o, text, spec, err);
}

/* Remember the failure that was nearest to success. */
static void failed(struct attempt *a, enum rank rank, const struct prop_err *err)
{
    if (rank <= a->rank)
        return;
    a->rank = rank;
    a->err = *err;
}

static enum rank rank_of(int code)
{
    switch (code) {
    case PROP_E_VERIFY:
        return RANK_WRONG_KEY;
    case PROP_E_UNSUPPORTED:
        return RANK_UNSUPPORTED;
    case PROP_E_NOMEM:
    case PROP_E_BUG:
        return RANK_SOURCE;
    default:
        return RANK_MALFORMED;
    }
}

static bool try_kek(struct attempt *a, const struct prop_packet *p, const struct prop_secret *kek)
{
    struct prop_err err = PROP_ERR_INIT;
    int rc = prop_packet_open(p, kek, &a->found, &err);
    if (rc != 0)
        failed(a, rank_of(rc), &err);
    return rc == 0;
}

/* Ask the KEK source for the packet's kid. */
static bool try_source(struct attempt *a, const struct prop_packet *p)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_resource_id kid;
    prop_auto_secret struct prop_secret *kek = NULL;
    int rc = 0;
    if (++a->fetches > KEK_FETCHES)
        rc = prop_err_set(&err, PROP_E_LIMIT, "the layer names more than %d keys", KEK_FETCHES);
    if (rc == 0)
        rc = prop_resource_id_parse(p->kid, true, &kid, &err);
    if (rc == 0)
        rc = a->o->source(a->o->source_ctx, &kid, &kek, &err);
    if (rc == 0 && prop_kek_is_public(kek))
        rc = prop_err_set_id(&err, PROP_E_DENIED, "public-kek",
                             "the key of '%s' is the key provider's sample key", p->kid);
    if (rc != 0) {
        failed(a, RANK_SOURCE, &err);
        return false;
    }
    return try_kek(a, p, kek);
}

static bool try_packet(struct attempt *a, const char *scheme, const struct prop_buf *block)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_packet struct prop_packet p = PROP_PACKET_INIT;
    int rc = prop_packet_parse(block->data, block->len, &p, &err);
    if (rc != 0) {
        failed(a, rank_of(rc), &err);
        return false;
    }
    if (!p.has_tag && !a->o->allow_ctr) {
        (void)prop_err_set_id(&err, PROP_E_DENIED, "a256ctr-refused",
                              "the layer key is wrapped with A256CTR, which has no integrity");
        failed(a, RANK_REFUSED, &err);
        return false;
    }
    for (size_t i = 0; i < a->o->n_keks; i++)
        if (try_kek(a, &p, a->o->keks[i]))
            return true;
    return a->o->source && strcmp(scheme, PROP_SCHEME_AGENT) == 0 && try_source(a, &p);
}

static bool try_jwe(struct attempt *a, const char *scheme, const struct prop_buf *block)
{
    (void)scheme;
    for (size_t i = 0; i < a->o->n_keys; i++) {
        struct prop_err err = PROP_ERR_INIT;
        int rc = prop_jwe_decrypt((const char *)block->data, block->len, a->o->keys[i], &a->found,
                                  &err);
        if (rc == 0)
            return true;
        failed(a, rank_of(rc), &err);
    }
    return false;
}

/* What opens the blocks of a scheme; all key providers' blocks are tried as packets, since other
 * providers write that form too. */
typedef bool (*opener_fn)(struct attempt *a, const char *scheme, const struct prop_buf *block);

static opener_fn find_opener(const char *scheme)
{
    if (strcmp(scheme, PROP_SCHEME_JWE) == 0)
        return try_jwe;
    return prop_starts_with(scheme, PROP_SCHEME_PROVIDER) ? try_packet : NULL;
}

static bool try_scheme(struct attempt *a, const char *scheme, const char *value)
{
    opener_fn open_block = find_opener(scheme);
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf block = PROP_BUF_INIT(PROP_LIMIT_ANNOTATION);
    const char *cursor = value;
    const char *text = NULL;
    size_t len = 0, n = 0;
    if (!open_block)
        return false;
    if (prop_enc_count_blocks(value, &n, &err) != 0) {
        failed(a, RANK_UNSUPPORTED, &err);
        return false;
    }
    while (prop_enc_next_block(&cursor, &text, &len)) {
        int rc = prop_enc_decode_block(scheme, text, len, &block, &err);
        if (rc != 0)
            failed(a, rank_of(rc), &err);
        else if (open_block(a, scheme, &block))
            return true;
    }
    return false;
}

/* "jwe, pkcs7": the schemes of a layer, for the message. */
static void list_schemes(const struct prop_descriptor *layer, struct prop_buf *out)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(layer->json, "annotations"), key, value)
        if (prop_starts_with(key, PROP_ENC_KEYS))
            (void)prop_buf_printf(out, NULL, "%s%s", out->len ? ", " : "",
                                  key + strlen(PROP_ENC_KEYS));
}

static int no_scheme(const struct prop_descriptor *layer, struct prop_err *err)
{
    prop_auto_buf struct prop_buf names = PROP_BUF_INIT(400);
    list_schemes(layer, &names);
    if (names.len == 0)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-annotation",
                               "the layer is marked encrypted but holds no wrapped key");
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-usable-scheme",
                          "the layer is encrypted for %s: none of the keys given opens that kind",
                          prop_buf_str(&names));
    return prop_err_hint(err, "jwe needs a private key file, provider.attestation-agent the "
                         "32-byte key of its kid; 'propenc inspect' tells more");
}

int prop_openers_unwrap(struct prop_openers *o, const struct prop_descriptor *layer,
                        struct prop_secret **ret_privopts, char **ret_pubopts,
                        struct prop_err *err)
{
    struct attempt a = { .o = o, .rank = RANK_NONE };
    prop_auto_free char *pubopts = NULL;
    const char *key;
    json_t *value;
    int rc = prop_enc_pubopts(layer, &pubopts, err);
    if (rc != 0)
        return rc;
    json_object_foreach(json_object_get(layer->json, "annotations"), key, value)
        if (!a.found && prop_starts_with(key, PROP_ENC_KEYS) && json_is_string(value))
            (void)try_scheme(&a, key + strlen(PROP_ENC_KEYS), json_string_value(value));
    if (!a.found && a.rank == RANK_NONE)
        return no_scheme(layer, err);
    if (!a.found) {
        if (err)
            *err = a.err;
        return a.err.code;
    }
    *ret_privopts = a.found;
    *ret_pubopts = PROP_TAKE(pubopts);
    return 0;
}
