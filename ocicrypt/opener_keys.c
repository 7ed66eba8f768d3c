/* Openers: what --key takes. A file is read once, since it may be a pipe, and told by its bytes. */
#include "ocicrypt/opener_internal.h"

#include "jose/jwk.h"
#include "keyprovider/keyprovider.h"
#include "keys/keyfile.h"
#include "ocicrypt/agent_spec.h"
#include "ocicrypt/annot.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/text.h"

#include <string.h>
#include <unistd.h>

#define AGENT "attestation-agent"
#define KEYS_MAX 256 /* files one command may name */

int prop_openers_new(struct prop_openers **ret, struct prop_err *err)
{
    struct prop_openers *o = prop_zalloc(sizeof(*o));
    if (!o)
        return prop_err_nomem(err);
    *ret = o;
    return 0;
}

static void provider_release(struct prop_opener_provider *p)
{
    for (size_t i = 0; i < p->n_params; i++)
        prop_free(p->params[i]);
    prop_free(p->params);
    prop_free(p->name);
}

void prop_openers_free(struct prop_openers *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < o->n_keys; i++)
        prop_pkey_free(o->keys[i]);
    for (size_t i = 0; i < o->n_certs; i++)
        prop_cert_free(o->certs[i]);
    for (size_t i = 0; i < o->n_keks; i++)
        prop_secret_free(o->keks[i]);
    for (size_t i = 0; i < o->n_known; i++)
        prop_secret_free(o->known[i].kek);
    for (size_t i = 0; i < o->n_providers; i++)
        provider_release(&o->providers[i]);
    prop_free(o->keys);
    prop_free(o->certs);
    prop_free(o->keks);
    prop_free(o->known);
    prop_free(o->providers);
    prop_free(o);
}

/* Room for one more in a growing array, or NULL with err set; the array is given back grown. */
static void *one_more(void *array, size_t n, size_t size, struct prop_err *err)
{
    void *more = NULL;
    if (n >= KEYS_MAX)
        (void)prop_err_set(err, PROP_E_LIMIT, "more than %d keys", KEYS_MAX);
    else if ((more = prop_realloc_array(array, n + 1, size)) == NULL)
        (void)prop_err_nomem(err);
    return more;
}

/* Each takes what it is given over, also on failure. */
static int take_key(struct prop_openers *o, struct prop_pkey *key, struct prop_err *err)
{
    struct prop_pkey **more = one_more(o->keys, o->n_keys, sizeof(*more), err);
    if (!more) {
        prop_pkey_free(key);
        return o->n_keys >= KEYS_MAX ? PROP_E_LIMIT : PROP_E_NOMEM;
    }
    o->keys = more;
    o->keys[o->n_keys++] = key;
    return 0;
}

static int take_cert(struct prop_openers *o, struct prop_cert *cert, struct prop_err *err)
{
    struct prop_cert **more = one_more(o->certs, o->n_certs, sizeof(*more), err);
    if (!more) {
        prop_cert_free(cert);
        return o->n_certs >= KEYS_MAX ? PROP_E_LIMIT : PROP_E_NOMEM;
    }
    o->certs = more;
    o->certs[o->n_certs++] = cert;
    return 0;
}

static int take_kek(struct prop_openers *o, struct prop_secret *kek, struct prop_err *err)
{
    struct prop_secret **more = one_more(o->keks, o->n_keks, sizeof(*more), err);
    if (!more) {
        prop_secret_free(kek);
        return o->n_keks >= KEYS_MAX ? PROP_E_LIMIT : PROP_E_NOMEM;
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

void prop_openers_set_providers(struct prop_openers *o, const struct prop_kp_config *config,
                                bool agent_is_external)
{
    o->config = config;
    o->agent_is_external = agent_is_external;
}

const struct prop_pkey *prop_openers_private_of(const struct prop_openers *o,
                                                const struct prop_pkey *key)
{
    for (size_t i = 0; o && i < o->n_keys; i++)
        if (prop_pkey_same_public(o->keys[i], key))
            return o->keys[i];
    return NULL;
}

/* --- key files --- */

static bool holds(const struct prop_secret *text, const char *words)
{
    return memmem(prop_secret_data(text), prop_secret_len(text), words, strlen(words)) != NULL;
}

static bool is_certificate(const struct prop_secret *text)
{
    return prop_cert_is(prop_secret_data(text), prop_secret_len(text));
}

static int add_certificate(struct prop_openers *o, const struct prop_secret *text,
                           const char *path, struct prop_err *err)
{
    struct prop_cert *cert = NULL;
    int rc = prop_cert_load(prop_secret_data(text), prop_secret_len(text), path, &cert, err);
    return rc != 0 ? rc : take_cert(o, cert, err);
}

static int import_jwk(const struct prop_secret *text, const char *path, struct prop_pkey **ret,
                      struct prop_err *err)
{
    prop_auto_json json_t *jwk = NULL;
    /* The parser's message may quote the text, and that may be a private number. */
    int rc = prop_json_parse((const char *)prop_secret_data(text), prop_secret_len(text), path,
                             &jwk, NULL);
    if (rc == PROP_E_NOMEM)
        return prop_err_nomem(err);
    if (rc != 0)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-jwk", "'%s' is not a JWK: malformed JSON",
                               path);
    return prop_jwk_import(jwk, path, ret, err);
}

static int add_private(struct prop_openers *o, const struct prop_secret *text, const char *path,
                       struct prop_err *err)
{
    struct prop_pkey *key = NULL;
    const char *bytes = (const char *)prop_secret_data(text);
    bool jwk = bytes[strspn(bytes, " \t\r\n")] == '{';
    int rc = jwk ? import_jwk(text, path, &key, err)
                 : prop_pkey_load_private(text, NULL, path, &key, err);
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

/* Keys of schemes that are only recognised. A binary ring begins with a secret key packet (RFC 4880
 * section 4.2: tag 5 in either form of header). */
static const char *foreign_kind(const struct prop_secret *text)
{
    size_t len = prop_secret_len(text);
    uint8_t first = len > 0 ? prop_secret_data(text)[0] : 0;
    if (holds(text, "-----BEGIN PGP ") || (len > 64 && (first & 0xfc) == 0x94) ||
        (len > 64 && first == 0xc5))
        return "an OpenPGP key ring";
    if (len >= 7 && memcmp(prop_secret_data(text), "pkcs11:", 7) == 0)
        return "a PKCS#11 description";
    return NULL;
}

static int add_bytes(struct prop_openers *o, const struct prop_secret *text, const char *path,
                     struct prop_err *err)
{
    struct prop_secret *kek = NULL;
    int rc = prop_kek_from_bytes(text, path, &kek, NULL);
    if (rc == 0 || rc == PROP_E_NOMEM)
        return rc != 0 ? prop_err_nomem(err) : take_kek(o, kek, err);
    const char *foreign = foreign_kind(text);
    if (foreign) {
        (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "key-unsupported",
                              "'%s' is %s: that kind opens nothing here", path, foreign);
        return prop_err_hint(err, "decrypt with a tool that has it, or ask for a jwe, pkcs7 or "
                             "attestation-agent recipient");
    }
    bool cert = is_certificate(text);
    if (cert && (rc = add_certificate(o, text, path, err)) != 0)
        return rc;
    return cert && !holds(text, "PRIVATE KEY-----") ? 0 : add_private(o, text, path, err);
}

/* A key file must be ours alone; a certificate need not. */
static int read_key_file(const char *path, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    struct prop_err e = PROP_ERR_INIT;
    int rc = prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_PRIVATE, ret, &e);
    if (rc == 0)
        return 0;
    if (strcmp(prop_err_id(&e), "key-file-mode") == 0 &&
        prop_file_read_secret(path, PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_ANY_MODE, &text, NULL) ==
            0 &&
        is_certificate(text) && !holds(text, "PRIVATE KEY-----")) {
        *ret = PROP_TAKE(text);
        return 0;
    }
    if (err)
        *err = e;
    return rc;
}

/* "F:file=PW" and kin; a file that is there under the whole name wins. */
static bool has_password(const char *spec)
{
    return strchr(spec, ':') && access(spec, F_OK) != 0;
}

static int add_file(struct prop_openers *o, const char *spec, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    struct prop_pkey *key = NULL;
    if (has_password(spec)) {
        int rc = prop_keyfile_private_spec(spec, &key, NULL, err);
        return rc != 0 ? rc : take_key(o, key, err);
    }
    int rc = read_key_file(spec, &text, err);
    return rc != 0 ? rc : add_bytes(o, text, spec, err);
}

/* --- key providers --- */

const struct prop_opener_provider *prop_opener_provider_find(const struct prop_openers *o,
                                                             const char *scheme)
{
    if (!prop_starts_with(scheme, PROP_SCHEME_PROVIDER))
        return NULL;
    for (size_t i = 0; i < o->n_providers; i++)
        if (strcmp(o->providers[i].name, scheme + strlen(PROP_SCHEME_PROVIDER)) == 0)
            return &o->providers[i];
    return NULL;
}

/* The entry of this name, made when there is none. Takes `name` over. */
static int provider_entry(struct prop_openers *o, char *name, struct prop_opener_provider **ret,
                          struct prop_err *err)
{
    for (size_t i = 0; i < o->n_providers; i++)
        if (strcmp(o->providers[i].name, name) == 0) {
            *ret = &o->providers[i];
            prop_free(name);
            return 0;
        }
    struct prop_opener_provider *more = one_more(o->providers, o->n_providers, sizeof(*more), err);
    if (!more) {
        prop_free(name);
        return o->n_providers >= KEYS_MAX ? PROP_E_LIMIT : PROP_E_NOMEM;
    }
    o->providers = more;
    *ret = &o->providers[o->n_providers++];
    **ret = (struct prop_opener_provider){ .name = name };
    return 0;
}

static int add_params(struct prop_opener_provider *p, const char *params, struct prop_err *err)
{
    char **more = one_more(p->params, p->n_params, sizeof(*more), err);
    if (!more)
        return p->n_params >= KEYS_MAX ? PROP_E_LIMIT : PROP_E_NOMEM;
    p->params = more;
    p->params[p->n_params] = prop_strdup(params);
    if (!p->params[p->n_params])
        return prop_err_nomem(err);
    p->n_params++;
    return 0;
}

/* "NAME[:PARAMS]" for a provider of the configuration. Go's word for no PARAMS is "Enabled"
 * (ocicrypt.md 6.3). */
static int add_external(struct prop_openers *o, const char *text, struct prop_err *err)
{
    struct prop_opener_provider *p = NULL;
    size_t len = strcspn(text, ":");
    char *name = prop_strndup(text, len);
    if (!name)
        return prop_err_nomem(err);
    if (!o->config || !prop_kp_config_has(o->config, name)) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-provider",
                              "key provider '%s' is in no configuration", name);
        prop_free(name);
        return prop_err_hint(err, "name the file that has it with --keyprovider-config, or in "
                             "OCICRYPT_KEYPROVIDER_CONFIG");
    }
    int rc = provider_entry(o, name, &p, err);
    return rc != 0 ? rc : add_params(p, text[len] ? text + len + 1 : "Enabled", err);
}

/* Ours: the KEK source, or the KEK of a file. */
static int add_agent(struct prop_openers *o, const char *params, struct prop_err *err)
{
    prop_auto_agent_spec struct prop_agent_spec spec = { .keypath = NULL };
    struct prop_secret *kek = NULL;
    int rc = prop_agent_spec_parse_as(params, PROP_AGENT_NO_KEYPATH | PROP_AGENT_NO_KEYID |
                                      PROP_AGENT_CTR, &spec, err);
    if (rc == 0 && spec.keypath)
        return (rc = prop_kek_read(spec.keypath, &kek, err)) != 0 ? rc : take_kek(o, kek, err);
    if (rc != 0 || o->source)
        return rc;
    (void)prop_err_set_id(err, PROP_E_USAGE, "no-kek-source",
                          "key 'provider:" AGENT "': there is no key broker to ask");
    return prop_err_hint(err, "give --kbs URL, or the KEK itself with --key FILE; a key provider "
                         "of that name is asked with --keyprovider-config FILE");
}

int prop_openers_add(struct prop_openers *o, const char *spec, struct prop_err *err)
{
    static const char prefix[] = "provider:";
    if (!prop_starts_with(spec, prefix))
        return add_file(o, spec, err);
    const char *text = spec + strlen(prefix);
    if (strcspn(text, ":") != strlen(AGENT) || !prop_starts_with(text, AGENT) ||
        o->agent_is_external)
        return add_external(o, text, err);
    text += strlen(AGENT);
    return add_agent(o, *text ? text + 1 : text, err);
}
