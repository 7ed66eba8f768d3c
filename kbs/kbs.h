/* Client of a key broker service (Trustee's KBS, protocol 0.4.0; kbs.md): the admin API and the
 * attestation handshake (RCAR). One struct prop_kbs is one connection, reused. */
#ifndef PROP_KBS_KBS_H
#define PROP_KBS_KBS_H

#include "crypto/pkey.h"
#include "keys/resource_id.h"
#include "tee/evidence.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stdint.h>

struct prop_kbs_config {
    const char *url;          /* "https://kbs.example.com[:port]"; a trailing "/" is cut */
    const char *ca_cert;      /* PEM; NULL = system roots */
    const char *client_cert;  /* PEM; NULL = none */
    const char *client_key;   /* PEM, not readable by others; NULL = it is in client_cert */
    bool insecure_http;       /* plain HTTP beyond loopback */
    bool no_proxy;            /* the guest: proxies of the environment are ignored, and with ca_cert the
                                 server's certificate counts whatever the (host's) clock says */
    const char *admin_key;    /* file: Ed25519 PEM to sign with; NULL = none */
    const char *admin_token;  /* file: ready token; NULL = none. Both: PROP_E_USAGE */
    const char *issuer;       /* for signed tokens; NULL = "propkey" */
    const char *audience;     /* NULL = no aud claim */
    const char *role;         /* NULL = "admin" */
    uint64_t lifetime_s;      /* 0 = 7200 */
    bool tls_facts;           /* remember what TLS agreed on (kbs/probe.h) */
};

struct prop_kbs;
/* Checks the URL and reads the admin key or token; no connection is made yet. */
int prop_kbs_new(const struct prop_kbs_config *config, struct prop_kbs **ret,
                 struct prop_err *err);
void prop_kbs_free(struct prop_kbs *k);
PROP_DEFINE_AUTO(struct prop_kbs *, prop_kbs_free)
#define prop_auto_kbs __attribute__((cleanup(prop_kbs_free_p)))

/* The URL as configured, in one spelling per server (lower case, no default port, no last "/"), for
 * messages and the ledger; borrowed. */
const char *prop_kbs_url(const struct prop_kbs *k);

/* Who we are to the admin API, and in which form the server took it. A server of v0.18 to v0.20
 * refuses any token with an audience; where one is configured and such a server refuses it, the
 * call is made once more with the portable token (kbs.md 1.2): a refused call changed nothing.
 * "none" (no token is sent), "given" (a ready one), "audience", "portable"; static. */
const char *prop_kbs_admin_form(const struct prop_kbs *k);
/* The role the token claims: as configured, or of a ready one ("" when it names none); borrowed. */
const char *prop_kbs_admin_role(const struct prop_kbs *k);
/* Did the form above have to change on the way: the configured audience was left out? */
bool prop_kbs_admin_audience_dropped(const struct prop_kbs *k);
/* What is wrong with a ready token in the eyes of servers, as a sentence, or NULL; borrowed. (A
 * token that is over is not even taken: PROP_E_AUTH, id "admin-token-expired", of prop_kbs_new.) */
const char *prop_kbs_admin_warning(const struct prop_kbs *k);

/* Errors of all calls: the answer's error type becomes `id` ("token-not-found", "policy-deny",
 * "plugin-internal-error", "admin-auth-access", ...), 401 types map to PROP_E_DENIED (PolicyDeny),
 * PROP_E_AUTH (token and admin types, and AttestationError of POST /attest: the evidence was not
 * taken), PROP_E_NOTFOUND (PluginInternalError on a resource GET or DELETE: the server does not
 * tell bad path and missing apart; a reference value nobody set), PROP_E_INPUT (a policy the
 * server cannot parse), PROP_E_UNSUPPORTED (id "kbs-version": another protocol version; or
 * "plugin-not-found": the server does not have this call), PROP_E_LIMIT (id "resource-too-big"),
 * PROP_E_REMOTE otherwise. kbs/refusal.h has the table. A server that closes the connection
 * instead of answering is PROP_E_NETWORK, id "connection-closed"; the hint tells what is known of
 * its state then. */

/* Admin token: sign one as kbs.md 1.2 wants (iss, sub, role, iat, exp, aud?) into `out`. */
int prop_kbs_admin_token(const struct prop_pkey *ed25519, const struct prop_kbs_config *config,
                         struct prop_buf *out, struct prop_err *err);

/* Admin API. Bodies are sent as they are. */
int prop_kbs_set_resource(struct prop_kbs *k, const struct prop_resource_id *id,
                          const struct prop_secret *value, struct prop_err *err);
/* Fails with PROP_E_UNSUPPORTED, id "delete-unsupported", where the server is one before v0.20. */
int prop_kbs_delete_resource(struct prop_kbs *k, const struct prop_resource_id *id,
                             struct prop_err *err);
int prop_kbs_set_policy(struct prop_kbs *k, const char *rego, size_t len, struct prop_err *err);
/* GET /resource-policy: since v0.19 a JSON list of ids, before the text. Owned. */
int prop_kbs_get_policy(struct prop_kbs *k, struct prop_buf *out, struct prop_err *err);
int prop_kbs_set_attestation_policy(struct prop_kbs *k, const char *id, const char *rego,
                                    size_t len, struct prop_err *err);
int prop_kbs_set_reference_values(struct prop_kbs *k, const json_t *values, struct prop_err *err);
int prop_kbs_get_reference_value(struct prop_kbs *k, const char *name, json_t **ret,
                                 struct prop_err *err);
/* GET /healthz; 0 when the server answers at all as a KBS does. */
int prop_kbs_health(struct prop_kbs *k, struct prop_err *err);

/* The key a session is made with, where the caller brings none (kbs.md 2.6). */
enum prop_kbs_key { PROP_KBS_KEY_P256, PROP_KBS_KEY_P521, PROP_KBS_KEY_RSA };

struct prop_kbs_attest {
    enum prop_tee tee;
    const struct prop_pkey *tee_key;  /* NULL = a fresh key of `key` for this session */
    const char *init_data;            /* TOML text to send as init-data, or NULL */
    enum prop_kbs_key key;
    bool allow_debug;                 /* attest a guest whose memory its host may read */
    bool sample_device;               /* with sample evidence: that of a sample device as well */
};
/* Attest (POST /auth, POST /attest) and return the EAR token text. The evidence is checked here first
 * (tee/check.h), since a server only ever says 401; and before anything is sent the launch must have
 * bound `init_data`: PROP_E_VERIFY (id "init-data-mismatch").
 * Fails: as prop_tee_evidence and prop_tee_checks_verdict; PROP_E_UNSUPPORTED (id "tee-key"). */
int prop_kbs_attest(struct prop_kbs *k, const struct prop_kbs_attest *how, struct prop_buf *token,
                    struct prop_err *err);
/* Fetch a resource: attest when this session has not yet, GET, open the JWE with the session's TEE
 * key. A session is used until it or its token runs out, which costs one request; where the session
 * is over and its token is not, the token is shown instead. One retry on a lost session (TokenNotFound,
 * TokenVerifierError), none on a denial. For services that live long: after a restart of the server, a
 * broken connection or another certificate in `ca_cert`, the next call finds its way again.
 * A resource id with a host that is not this KBS's is refused: PROP_E_DENIED (id "foreign-kbs"). */
int prop_kbs_get_resource(struct prop_kbs *k, const struct prop_kbs_attest *how,
                          const struct prop_resource_id *id, struct prop_secret **ret,
                          struct prop_err *err);
/* Passport: GET with a Bearer EAR, opened with the TEE key the token names. */
int prop_kbs_get_resource_with_token(struct prop_kbs *k, const char *token,
                                     const struct prop_pkey *tee_key,
                                     const struct prop_resource_id *id, struct prop_secret **ret,
                                     struct prop_err *err);

#endif
