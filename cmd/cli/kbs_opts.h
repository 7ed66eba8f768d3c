/* The options every tool uses to say which key broker, and as whom: one spelling, one meaning.
 *
 *     struct set_opts { struct prop_kbs_opts kbs; bool force; };
 *     static const struct prop_opt set_options[] = {
 *         PROP_KBS_OPTIONS(struct set_opts, kbs),
 *         PROP_KBS_ADMIN_OPTIONS(struct set_opts, kbs),
 *         PROP_OPT_END
 *     };
 *     prop_auto_kbs struct prop_kbs *k = NULL;
 *     rc = prop_kbs_opts_open(&o->kbs, &k, err);
 *
 * --help shows the environment variables; a flag given on the command line wins over the
 * environment variable of its rival (--admin-token over PROP_ADMIN_KEY and the other way round).
 * Proxies are those of the environment (https_proxy, http_proxy, no_proxy), never for loopback.
 */
#ifndef PROP_CMD_CLI_KBS_OPTS_H
#define PROP_CMD_CLI_KBS_OPTS_H

#include "cmd/cli/cli.h"
#include "kbs/kbs.h"
#include "tee/evidence.h"
#include "tee/initdata.h"
#include "util/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_kbs_opts {
    const char *kbs;          /* URL */
    const char *ca_cert;      /* PEM file */
    const char *client_cert;  /* PEM file */
    const char *client_key;   /* PEM file */
    bool insecure_http;
    const char *admin_key;    /* file */
    const char *admin_token;  /* file */
    const char *issuer, *audience, *role;
    uint64_t lifetime_ms;     /* of tokens signed here; 0 = two hours */
    const char *tee;          /* "auto", "sample", "snp", "tdx" */
    const char *tee_key_type; /* "p256", "p521", "rsa" */
    const char *init_data;    /* file */
    bool allow_debug;
};

/* Where the key broker is and how far its connection is trusted. */
#define PROP_KBS_OPTIONS(type, member)                                                             \
    { "kbs", 0, PROP_OPT_STRING, "URL", "the key broker service",                                  \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, kbs), "PROP_KBS_URL", NULL, false }, \
    { "ca-cert", 0, PROP_OPT_STRING, "FILE", "trust only these PEM roots for the key broker",      \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, ca_cert), NULL, NULL, false },       \
    { "client-cert", 0, PROP_OPT_STRING, "FILE", "certificate to show to the key broker (PEM)",    \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, client_cert), NULL, NULL, false },   \
    { "client-key", 0, PROP_OPT_STRING, "FILE", "its private key, when not in the same file",      \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, client_key), NULL, NULL, false },    \
    { "insecure-http", 0, PROP_OPT_FLAG, NULL, "plain HTTP beyond loopback, unencrypted",          \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, insecure_http), NULL, NULL, false }

/* What the admin token of a key that signs here says. */
#define PROP_KBS_CLAIM_OPTIONS(type, member)                                                       \
    { "issuer", 0, PROP_OPT_STRING, "NAME", "issuer of the signed admin token",                    \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, issuer), NULL, "propkey", false },   \
    { "audience", 0, PROP_OPT_STRING, "NAME", "audience of the signed token; without it, none",    \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, audience), NULL, NULL, false },      \
    { "role", 0, PROP_OPT_STRING, "NAME", "role the signed admin token claims",                    \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, role), NULL, "admin", false },       \
    { "lifetime", 0, PROP_OPT_DURATION, "TIME", "how long the signed admin token is good for",     \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, lifetime_ms), NULL, "2h", false }

/* Who asks: for calls of the admin API. */
#define PROP_KBS_ADMIN_OPTIONS(type, member)                                                       \
    { "admin-key", 0, PROP_OPT_STRING, "FILE", "Ed25519 private key (PEM) to sign admin tokens",   \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, admin_key), "PROP_ADMIN_KEY", NULL,  \
      false },                                                                                     \
    { "admin-token", 0, PROP_OPT_STRING, "FILE", "a ready admin token instead of a key",           \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, admin_token), "PROP_ADMIN_TOKEN",    \
      NULL, false },                                                                               \
    PROP_KBS_CLAIM_OPTIONS(type, member)

/* Which evidence this machine attests with. */
#define PROP_KBS_TEE_OPTION(type, member)                                                          \
    { "tee", 0, PROP_OPT_STRING, "auto|sample|snp|tdx", "evidence to attest with",                 \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, tee), "PROP_TEE", "auto", false }

/* How the guest attests: for verbs that run in it (with PROP_KBS_TEE_OPTION; see
 * prop_kbs_opts_attest). */
#define PROP_KBS_GUEST_OPTIONS(type, member)                                                       \
    { "tee-key-type", 0, PROP_OPT_STRING, "p256|p521|rsa", "kind of key the answers are encrypted to",\
      offsetof(type, member) + offsetof(struct prop_kbs_opts, tee_key_type), NULL, "p256", false },\
    { "init-data", 0, PROP_OPT_STRING, "FILE", "TOML document that the launch bound; sent along",  \
      offsetof(type, member) + offsetof(struct prop_kbs_opts, init_data), NULL, NULL, false },     \
    { "allow-debug", 0, PROP_OPT_FLAG, NULL, "attest also with debugging on (the host can read "   \
      "everything)", offsetof(type, member) + offsetof(struct prop_kbs_opts, allow_debug), NULL,   \
      NULL, false }

/* The options as the client takes them (strings borrowed). Resolves --admin-key against
 * --admin-token. Fails: PROP_E_USAGE (id "no-kbs") no URL, (id "two-admins") both named alike. */
int prop_kbs_opts_config(const struct prop_kbs_opts *o, struct prop_kbs_config *ret,
                         struct prop_err *err);
/* prop_kbs_opts_config and prop_kbs_new; no connection is made yet. */
int prop_kbs_opts_open(const struct prop_kbs_opts *o, struct prop_kbs **ret, struct prop_err *err);
/* prop_kbs_opts_open for verbs of the admin API: also says what servers will not like in a ready
 * token, before anything is sent. */
int prop_kbs_opts_open_admin(struct prop_cli *cli, const struct prop_kbs_opts *o,
                             struct prop_kbs **ret, struct prop_err *err);
/* After a call of the admin API was accepted: "admin_token_form" into the result (an object, NULL
 * = none), with -v a note, and a note in any case when the audience had to be left out. */
void prop_kbs_opts_say_form(struct prop_cli *cli, const struct prop_kbs *k, json_t *doc);
/* What the guest attests with: --tee (as prop_kbs_opts_tee), --tee-key-type, --init-data, --allow-debug;
 * and a sample device where ENABLE_SAMPLE_DEVICE is in the environment and --tee says sample.
 * `init_data` (zeroed) receives the document's text, which ret->init_data borrows: release it after
 * the last use.
 * Fails: PROP_E_USAGE (id "bad-tee-key-type"); as prop_initdata_read; PROP_E_UNSUPPORTED as
 * prop_kbs_opts_tee: everything but ret->tee is filled then too. */
int prop_kbs_opts_attest(const struct prop_kbs_opts *o, struct prop_kbs_attest *ret,
                         struct prop_buf *init_data, struct prop_err *err);
/* prop_tee_choose of --tee; a NULL wish is "auto". */
int prop_kbs_opts_tee(const struct prop_kbs_opts *o, enum prop_tee *ret, struct prop_err *err);

#endif
