/* JWE recipients: one flattened object per key, which every reader opens with every key
 * (ocicrypt.md 5.1, writer's choice). */
#include "ocicrypt/recipient_internal.h"

#include "jose/jwe.h"
#include "keys/keyfile.h"
#include "ocicrypt/annot.h"
#include "ocicrypt/opener_internal.h"
#include "util/text.h"

#include <string.h>
#include <unistd.h>

static int jwe_wrap(const struct prop_recipients *r, const struct prop_recipient *c,
                    const struct prop_secret *privopts, struct prop_buf *out, struct prop_err *err)
{
    (void)r;
    return prop_jwe_encrypt(privopts, c->key, c->alg, c->jwk_kid, PROP_JWE_FLATTENED, out, err);
}

/* The private half: given as the recipient itself, or among the keys at hand. */
static const struct prop_pkey *private_half(const struct prop_recipients *r,
                                            const struct prop_recipient *c)
{
    return prop_pkey_is_private(c->key) ? c->key : prop_openers_private_of(r->openers, c->key);
}

static bool jwe_at_hand(const struct prop_recipients *r, const struct prop_recipient *c)
{
    return private_half(r, c) != NULL;
}

static int jwe_open(const struct prop_recipients *r, const struct prop_recipient *c,
                    const struct prop_buf *block, struct prop_secret **ret, struct prop_err *err)
{
    return prop_jwe_decrypt((const char *)block->data, block->len, private_half(r, c), ret, err);
}

/* The object names the recipient's JWK kid; without a kid nothing tells whose it is. */
static bool jwe_is_named(const struct prop_recipient *c, const struct prop_buf *block)
{
    prop_auto_json json_t *all = NULL;
    size_t i;
    json_t *one;
    if (!c->jwk_kid ||
        prop_jwe_describe((const char *)block->data, block->len, &all, NULL) != 0)
        return false;
    json_array_foreach(all, i, one) {
        const char *kid = json_string_value(json_object_get(one, "kid"));
        if (kid && strcmp(kid, c->jwk_kid) == 0)
            return true;
    }
    return false;
}

static const struct prop_scheme scheme = { jwe_wrap, jwe_at_hand, jwe_open, jwe_is_named };

/* Split "FILE:alg=NAME"; a file that is there under the whole name wins. */
static int split(const char *text, char **ret_path, char **ret_alg, struct prop_err *err)
{
    static const char option[] = ":alg=";
    const char *at = NULL;
    if (access(text, F_OK) != 0)
        for (const char *p = text; (p = strstr(p, option)) != NULL; p++)
            at = p;
    char *path = prop_strndup(text, at ? (size_t)(at - text) : strlen(text));
    char *alg = at ? prop_strdup(at + strlen(option)) : NULL;
    if (!path || (at && !alg)) {
        prop_free(path);
        prop_free(alg);
        return prop_err_nomem(err);
    }
    *ret_path = path;
    *ret_alg = alg;
    return 0;
}

/* A private key is as good: its public half receives, and what was wrapped can be checked. */
static int load(const char *path, struct prop_recipient *c, struct prop_err *err)
{
    struct prop_err e = PROP_ERR_INIT;
    int rc = prop_keyfile_public(path, &c->key, &c->jwk_kid, &c->alg, &e);
    if (rc == 0)
        return 0;
    if (rc == PROP_E_INPUT && prop_keyfile_private(path, NULL, &c->key, &c->jwk_kid, NULL) == 0)
        return 0;
    if (err)
        *err = e;
    return rc;
}

/* Does the algorithm go with the key? Found out now, not after the layer was encrypted. */
static int check(const struct prop_recipient *c, const char *path, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *probe = NULL;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(64u << 10);
    int rc;
    if (prop_pkey_get_type(c->key) == PROP_PKEY_ED25519)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "recipient-key",
                               "recipient '%s': an Ed25519 key signs, it cannot receive", path);
    if ((rc = prop_secret_new(1, &probe, err)) != 0 ||
        (rc = prop_jwe_encrypt(probe, c->key, c->alg, c->jwk_kid, PROP_JWE_FLATTENED, &out,
                               err)) != 0)
        return prop_err_wrap(err, "recipient '%s'", path);
    return 0;
}

static void release(struct prop_recipient *c)
{
    prop_pkey_free(c->key);
    prop_free(c->jwk_kid);
    prop_free(c->alg);
}

int prop_recipients_add_jwe(struct prop_recipients *r, const char *text, struct prop_err *err)
{
    struct prop_recipient c = { .scheme = &scheme };
    prop_auto_free char *path = NULL;
    prop_auto_free char *alg = NULL;
    int rc = split(text, &path, &alg, err);
    if (rc == 0)
        rc = load(path, &c, err);
    if (rc != 0)
        return rc;
    if (alg) {
        prop_free(c.alg);
        c.alg = PROP_TAKE(alg);
    }
    if ((rc = check(&c, path, err)) != 0) {
        release(&c);
        return rc;
    }
    bool oaep256 = c.alg && strcmp(c.alg, "RSA-OAEP-256") == 0;
    if ((rc = prop_recipients_append_new(r, &c, PROP_SCHEME_JWE, err)) == 0 && oaep256)
        prop_recipients_warn(r, "recipient '%s': RSA-OAEP-256 is not read by the Rust library "
                             "(image-rs, the Confidential Data Hub); RSA-OAEP is", path);
    return rc;
}
