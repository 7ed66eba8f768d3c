/* What a guest meets: the handshake, the policy, and whose tokens count. All with evidence and
 * names that must get nothing. */
#include "cmd/propkey/doctor.h"

#include "crypto/random.h"
#include "jose/jwk.h"
#include "jose/jws.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_S = 300, LEEWAY_S = 60 };

/* A name nobody uses. */
static void unlikely(struct prop_resource_id *id)
{
    unsigned char random[16];
    memset(id, 0, sizeof *id);
    prop_random(random, sizeof random);
    (void)snprintf(id->repo, sizeof id->repo, "propkey-doctor");
    (void)snprintf(id->type, sizeof id->type, "none");
    prop_hex_encode(random, sizeof random, id->tag);
}

/* Tier of the first submod, and the server's clock by the token's time of issue. */
static void read_token(struct propkey_doctor *d, const struct prop_buf *token, char *tier,
                       size_t size)
{
    prop_auto_json json_t *header = NULL;
    prop_auto_json json_t *claims = NULL;
    (void)snprintf(tier, size, "unknown");
    if (prop_jws_decode(prop_buf_str(token), token->len, &header, &claims, NULL) < 0)
        return;
    const json_t *cpu = json_object_get(json_object_get(claims, "submods"), "cpu0");
    const char *status = json_string_value(json_object_get(cpu, "ear.status"));
    if (status)
        (void)prop_printable(status, strlen(status), tier, size);
    const json_t *iat = json_object_get(claims, "iat");
    long ahead = (long)(json_integer_value(iat) - (json_int_t)prop_wall_time());
    if (json_is_integer(iat) && labs(ahead) > LEEWAY_S)
        propkey_doctor_say(d, PROPKEY_FAIL, "token-clock",
                           "tokens are issued %ld s %s this machine's clock", labs(ahead),
                           ahead > 0 ? "ahead of" : "behind");
}

/* The handshake; true when the evidence was taken. */
static bool attest(struct propkey_doctor *d, const char *name, enum prop_tee tee)
{
    struct prop_kbs_attest how = { .tee = tee };
    struct prop_err err = PROP_ERR_INIT;
    char tier[64];
    prop_auto_buf struct prop_buf token = PROP_BUF_INIT(PROP_LIMIT_KBS_ANSWER);
    bool sample = tee == PROP_TEE_SAMPLE;
    if (prop_kbs_attest(d->k, &how, &token, &err) == 0) {
        read_token(d, &token, tier, sizeof tier);
        if (sample && strcmp(tier, "affirming") == 0)
            propkey_doctor_say(d, propkey_doctor_insecure(d), name,
                               "sample evidence is taken and rated affirming (its reference values "
                               "are set, or the attestation policy wants none): policies by tier "
                               "let anybody in");
        else
            propkey_doctor_say(d, PROPKEY_OK, name,
                               "protocol 0.4.0; %s evidence is taken and rated %s",
                               prop_tee_name(tee), tier);
        return true;
    }
    if (sample && propkey_doctor_is(&err, "attestation-error") && err.code == PROP_E_AUTH)
        propkey_doctor_say(d, PROPKEY_OK, name, "protocol 0.4.0; sample evidence is not taken");
    else
        propkey_doctor_say(d, PROPKEY_FAIL, name, "%s%s%s", err.message, err.hint[0] ? "; " : "",
                           err.hint);
    return false;
}

/* Does the policy in place admit what anybody can make up? */
static void check_policy(struct propkey_doctor *d)
{
    struct prop_kbs_attest how = { .tee = PROP_TEE_SAMPLE };
    struct prop_resource_id id;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *value = NULL;
    unlikely(&id);
    int rc = prop_kbs_get_resource(d->k, &how, &id, &value, &err);
    if (rc == PROP_E_DENIED)
        propkey_doctor_say(d, PROPKEY_OK, "policy",
                           "sample evidence is denied, for a name that no rule can mean");
    else if (rc == 0 || rc == PROP_E_NOTFOUND)
        propkey_doctor_say(d, propkey_doctor_insecure(d), "policy",
                           "sample evidence passes the resource policy: anybody can have the keys");
    else
        propkey_doctor_say(d, PROPKEY_FAIL, "policy", "%s", err.message);
}

/* A token under a key of our own, which a server must not believe. */
static int forge(const struct prop_pkey *key, struct prop_buf *out, struct prop_err *err)
{
    prop_auto_json json_t *jwk = NULL;
    prop_auto_json json_t *tee = NULL;
    json_int_t now = (json_int_t)prop_wall_time();
    int rc = prop_jwk_export(key, false, "ES256", &jwk, err);
    if (rc == 0)
        rc = prop_jwk_export(key, false, "ECDH-ES+A256KW", &tee, err);
    if (rc < 0)
        return rc;
    prop_auto_json json_t *header =
        json_pack("{s:s,s:s,s:O}", "typ", "JWT", "alg", "ES256", "jwk", jwk);
    prop_auto_json json_t *claims = json_pack(
        "{s:s,s:I,s:{s:{s:s,s:{s:{s:O}}}},s:I,s:s}", "eat_profile",
        "tag:github.com,2024:confidential-containers/Trustee", "iat", now, "submods", "cpu0",
        "ear.status", "contraindicated", "ear.veraison.annotated-evidence", "runtime_data_claims",
        "tee-pubkey", tee, "exp", now + TOKEN_S, "iss", "propkey doctor");
    return header && claims ? prop_jws_sign(key, header, claims, out, err) : prop_err_nomem(err);
}

static void check_forged(struct propkey_doctor *d)
{
    struct prop_resource_id id;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_pkey struct prop_pkey *key = NULL;
    prop_auto_secret struct prop_secret *value = NULL;
    prop_auto_buf struct prop_buf token = PROP_BUF_INIT(64 << 10);
    unlikely(&id);
    int rc = prop_pkey_generate(PROP_PKEY_P256, 0, &key, &err);
    if (rc == 0)
        rc = forge(key, &token, &err);
    if (rc == 0)
        rc = prop_kbs_get_resource_with_token(d->k, prop_buf_str(&token), key, &id, &value, &err);
    if (rc < 0 && (propkey_doctor_is(&err, "token-verifier-error") ||
                   propkey_doctor_is(&err, "token-not-found")))
        propkey_doctor_say(d, PROPKEY_OK, "token-trust",
                           "a token signed by an unknown key is refused");
    else if (rc == 0 || rc == PROP_E_DENIED || rc == PROP_E_NOTFOUND ||
             propkey_doctor_is(&err, "policy-engine-error"))
        propkey_doctor_say(d, propkey_doctor_insecure(d), "token-trust",
                           "a token under a key of its own is believed (insecure_header_jwk): "
                           "anybody can claim any evidence");
    else
        propkey_doctor_say(d, PROPKEY_FAIL, "token-trust", "%s", err.message);
}

/* Evidence of this machine's own, where it has some; that it has none matters when it was named. */
static void check_hardware(struct propkey_doctor *d)
{
    enum prop_tee tee = PROP_TEE_NONE;
    struct prop_err err = PROP_ERR_INIT;
    if (prop_kbs_opts_tee(d->o, &tee, &err) == 0) {
        if (tee != PROP_TEE_SAMPLE)
            (void)attest(d, "hardware", tee);
    } else if (d->o->tee && strcmp(d->o->tee, "auto") != 0) {
        propkey_doctor_say(d, PROPKEY_FAIL, "hardware", "%s", err.message);
    }
}

void propkey_doctor_guests(struct propkey_doctor *d)
{
    if (attest(d, "attestation", PROP_TEE_SAMPLE))
        check_policy(d);
    check_forged(d);
    check_hardware(d);
}
