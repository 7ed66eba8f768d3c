/* With which key a token's signature is checked, and what that proves. */
#include "cmd/propkey/token.h"

#include "crypto/trust.h"
#include "jose/jwk.h"
#include "jose/jws.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/mem.h"

#include <string.h>

enum { TRUST_FILE_MAX = 1 << 20 };

static int header_key(const json_t *header, struct prop_pkey **ret, struct prop_err *err)
{
    const json_t *jwk = json_object_get(header, "jwk");
    if (jwk)
        return prop_jwk_import(jwk, "the key in the token's header", ret, err);
    prop_err_set_id(err, PROP_E_NOTFOUND, "token-key", "the token's header carries no key");
    return prop_err_hint(err, "give the signer's keys with --jwks");
}

struct chain {
    struct prop_buf certs[PROP_TRUST_CHAIN_MAX];
    size_t n;
};

static void chain_release(struct chain *c)
{
    for (size_t i = 0; i < c->n; i++)
        prop_buf_release(&c->certs[i]);
}

static int read_x5c(const json_t *header, struct chain *c, struct prop_err *err)
{
    const json_t *x5c = json_object_get(json_object_get(header, "jwk"), "x5c");
    if (!x5c)
        x5c = json_object_get(header, "x5c");
    size_t n = json_array_size(x5c);
    if (n == 0)
        return prop_err_set_id(err, PROP_E_VERIFY, "untrusted-chain",
                               "the token's header carries no certificates (x5c)");
    if (n > PROP_TRUST_CHAIN_MAX)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-certificate",
                               "the token's header carries %zu certificates", n);
    for (size_t i = 0; i < n; i++) {
        const char *b64 = json_string_value(json_array_get(x5c, i));
        c->certs[c->n++] = (struct prop_buf)PROP_BUF_INIT(TRUST_FILE_MAX);
        int rc = prop_b64_decode(PROP_B64_STD, b64 ? b64 : "", b64 ? strlen(b64) : 0,
                                 "the token's certificate", &c->certs[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The leaf's key, when the chain leads to the trusted certificate and the leaf has the header's
 * key. */
static int cert_key(const json_t *header, const char *file, struct prop_pkey **ret,
                    struct prop_err *err)
{
    __attribute__((cleanup(chain_release))) struct chain c = { .n = 0 };
    prop_auto_buf struct prop_buf roots = PROP_BUF_INIT(TRUST_FILE_MAX);
    prop_auto_pkey struct prop_pkey *leaf = NULL;
    prop_auto_pkey struct prop_pkey *own = NULL;
    int rc = prop_file_read(file, &roots, err);
    if (rc == 0)
        rc = read_x5c(header, &c, err);
    if (rc == 0)
        rc = prop_trust_check_chain(c.certs, c.n, prop_buf_str(&roots), roots.len,
                                    "the token's certificate chain", &leaf, err);
    if (rc == 0 && json_object_get(header, "jwk"))
        rc = header_key(header, &own, err);
    if (rc == 0 && own && !prop_pkey_same_public(own, leaf))
        rc = prop_err_set_id(err, PROP_E_VERIFY, "untrusted-chain",
                             "the key in the token's header is not that of its certificate");
    if (rc == 0)
        *ret = PROP_TAKE(leaf);
    return rc;
}

static int verify_with(const char *token, size_t len, const struct prop_pkey *key, json_t **ret,
                       struct prop_err *err)
{
    int rc = prop_jws_verify(token, len, key, ret, err);
    if (rc == PROP_E_VERIFY && err)
        err->id = "token-signature";
    return rc;
}

/* One key of the set must have signed it; a kid in the header narrows the choice. */
static int verify_with_set(const char *token, size_t len, const json_t *header, const char *file,
                           json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    size_t i, tried = 0;
    json_t *jwk;
    const char *kid = json_string_value(json_object_get(header, "kid"));
    int rc = prop_json_parse_file(file, TRUST_FILE_MAX, &doc, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *keys = json_object_get(doc, "keys")
                                      ? json_incref(json_object_get(doc, "keys"))
                                      : json_pack("[O]", doc);
    json_array_foreach(keys, i, jwk) {
        const char *its = json_string_value(json_object_get(jwk, "kid"));
        prop_auto_pkey struct prop_pkey *key = NULL;
        struct prop_err local = PROP_ERR_INIT;
        if ((kid && its && strcmp(kid, its) != 0) || prop_jwk_import(jwk, file, &key, &local) < 0)
            continue;
        tried++;
        rc = verify_with(token, len, key, ret, &local);
        if (rc == 0 || rc == PROP_E_INPUT) {
            if (rc && err)
                *err = local;
            return rc;
        }
    }
    if (tried)
        return prop_err_set_id(err, PROP_E_VERIFY, "token-signature",
                               "no key of '%s' made the token's signature", file);
    prop_err_set_id(err, PROP_E_NOTFOUND, "token-key", "'%s' has no key for this token", file);
    return prop_err_hint(err, "a JWK, or {\"keys\":[...]}; a kid in the token must be there");
}

int propkey_token_verify(const char *token, size_t len, const struct propkey_token_trust *t,
                         json_t **ret_header, json_t **ret_claims, const char **ret_how,
                         struct prop_err *err)
{
    prop_auto_json json_t *header = NULL;
    prop_auto_json json_t *unchecked = NULL;
    prop_auto_json json_t *claims = NULL;
    prop_auto_pkey struct prop_pkey *key = NULL;
    const char *how = t->cert ? "trusted-cert" : t->jwks ? "jwks" : "header-jwk";
    int rc = prop_jws_decode(token, len, &header, &unchecked, err);
    if (rc < 0)
        return rc;
    if (t->cert)
        rc = cert_key(header, t->cert, &key, err);
    else if (!t->jwks)
        rc = header_key(header, &key, err);
    if (rc == 0)
        rc = key ? verify_with(token, len, key, &claims, err)
                 : verify_with_set(token, len, header, t->jwks, &claims, err);
    if (rc < 0)
        return rc;
    *ret_header = PROP_TAKE(header);
    *ret_claims = PROP_TAKE(claims);
    *ret_how = how;
    return 0;
}
