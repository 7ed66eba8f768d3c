/* Signing and checking EAR tokens. The order of members is the real server's: the guest stack does
 * not depend on it, but tests and people compare. */
#include "kbsd/token.h"

#include "jose/jwk.h"
#include "jose/jws.h"
#include "util/text.h"

#include <string.h>

#define LIFETIME_S 300
#define LEEWAY_S 60
#define PROFILE "tag:github.com,2024:confidential-containers/Trustee"
#define DEVELOPER "https://confidentialcontainers.org"
#define BUILD "attestation-service 0.1.0"
#define ISSUER "CoCo-Attestation-Service"

json_t *prop_kbsd_sorted(const json_t *v)
{
    prop_auto_free char *text = prop_json_sorted(v);

    return text != NULL ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
}

int prop_kbsd_token_init(struct prop_kbsd *k, struct prop_err *err)
{
    prop_auto_json json_t *jwk = NULL;
    int rc = prop_jwk_export(k->token_key, false, "ES256", &jwk, err);

    if (rc != 0)
        return rc;
    k->token_header = json_pack("{s:s,s:s,s:{s:s,s:s,s:s,s:O,s:O}}", "typ", "JWT", "alg", "ES256",
                                "jwk", "alg", "ES256", "kty", "EC", "crv", "P-256",
                                "x", json_object_get(jwk, "x"), "y", json_object_get(jwk, "y"));
    return k->token_header != NULL ? 0 : prop_err_nomem(err);
}

int prop_kbsd_token_issue(struct prop_kbsd *k, json_t *submods, char **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(64u << 20);
    json_int_t now = (json_int_t)prop_wall_time();
    prop_auto_json json_t *claims = json_pack(
        "{s:s,s:I,s:{s:s,s:s},s:O,s:I,s:s}", "eat_profile", PROFILE, "iat", now,
        "ear.verifier-id", "developer", DEVELOPER, "build", BUILD, "submods", submods,
        "exp", now + LIFETIME_S, "iss", ISSUER);

    if (claims == NULL)
        return prop_err_nomem(err);
    int rc = prop_jws_sign(k->token_key, k->token_header, claims, &out, err);
    if (rc == 0)
        *ret = prop_buf_take(&out, NULL);
    return rc;
}

int prop_kbsd_token_verify(struct prop_kbsd *k, const char *token, json_t **ret_claims,
                           struct prop_err *err)
{
    prop_auto_json json_t *header = NULL;
    prop_auto_json json_t *unchecked = NULL;
    prop_auto_json json_t *claims = NULL;
    size_t len = strlen(token);
    int rc = prop_jws_decode(token, len, &header, &unchecked, err);

    if (rc == 0)
        rc = prop_jws_verify(token, len, k->token_key, &claims, err);
    if (rc != 0)
        return rc;
    if (!json_is_string(json_object_get(json_object_get(header, "jwk"), "alg")))
        return prop_err_set(err, PROP_E_INPUT, "token header has no key with an algorithm");
    const json_t *exp = json_object_get(claims, "exp");
    if (!json_is_integer(exp))
        return prop_err_set(err, PROP_E_INPUT, "token says no time of expiry");
    if (json_integer_value(exp) < (json_int_t)prop_wall_time() - LEEWAY_S)
        return prop_err_set_id(err, PROP_E_AUTH, "token-expired", "token is over");
    *ret_claims = PROP_TAKE(claims);
    return 0;
}

static const json_t *walk(const json_t *v, const char *const *path)
{
    for (; v != NULL && *path != NULL; path++)
        v = json_object_get(v, *path);
    return v;
}

int prop_kbsd_token_tee_pubkey(const json_t *claims, const json_t **ret, struct prop_err *err)
{
    static const char *const places[][6] = {
        { "tdx", "attester_runtime_data", "tee-pubkey" },
        { "tdx", "attester_user_data", "tee-pubkey" },
        { "customized_claims", "runtime_data", "tee-pubkey" },
        { "submods", "cpu0", "ear.veraison.annotated-evidence", "runtime_data_claims",
          "tee-pubkey" },
        { "tee-pubkey" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(places); i++) {
        const json_t *key = walk(claims, places[i]);
        prop_auto_json json_t *typed = NULL;
        if (key == NULL)
            continue;
        int rc = prop_kbsd_tee_pubkey(key, &typed, err);
        if (rc == 0)
            *ret = key;
        return rc;
    }
    return prop_err_set(err, PROP_E_INPUT, "token carries no TEE public key");
}

int prop_kbsd_tee_pubkey(const json_t *jwk, json_t **ret, struct prop_err *err)
{
    static const struct {
        const char *kty;
        const char *members[6];
    } kinds[] = {
        { "RSA", { "alg", "e", "kty", "n" } },
        { "EC", { "alg", "crv", "kty", "x", "y" } },
        { "AKP", { "alg", "kty", "pub" } },
    };
    const char *kty = json_string_value(json_object_get(jwk, "kty"));
    prop_auto_json json_t *out = json_object();
    size_t kind = 0;

    if (out == NULL)
        return prop_err_nomem(err);
    while (kty != NULL && kind < PROP_ARRAY_LEN(kinds) && strcmp(kinds[kind].kty, kty) != 0)
        kind++;
    if (kty == NULL || kind == PROP_ARRAY_LEN(kinds))
        return prop_err_set(err, PROP_E_INPUT, "tee-pubkey is of no known kind");
    for (const char *const *m = kinds[kind].members; *m != NULL; m++) {
        json_t *value = json_object_get(jwk, *m);
        if (!json_is_string(value))
            return prop_err_set(err, PROP_E_INPUT, "tee-pubkey has no string '%s'", *m);
        if (json_object_set(out, *m, value) != 0)
            return prop_err_nomem(err);
    }
    *ret = PROP_TAKE(out);
    return 0;
}
