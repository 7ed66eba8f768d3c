/* ocicrypt's key provider protocol (ocicrypt.md 6): the messages, and calling providers that an
 * ocicrypt configuration names, as a program (cmd) or over gRPC. */
#ifndef PROP_KEYPROVIDER_KEYPROVIDER_H
#define PROP_KEYPROVIDER_KEYPROVIDER_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>

/* --- being asked ------------------------------------------------------------------------------ */

/* What a provider does. params: what stood behind the second ':' of each "provider:NAME:PARAMS" of
 * the request, in order. wrap appends the annotation's bytes to `out`; unwrap gives the private
 * options (owned by the caller). */
struct prop_kp_provider {
    const char *name; /* "attestation-agent": whose parameters of the request are meant */
    int (*wrap)(void *ctx, const char *const *params, size_t n_params,
                const struct prop_secret *privopts, struct prop_buf *out, struct prop_err *err);
    int (*unwrap)(void *ctx, const char *const *params, size_t n_params, const void *annotation,
                  size_t len, struct prop_secret **ret, struct prop_err *err);
    void *ctx;
};
enum prop_kp_op { PROP_KP_ANY, PROP_KP_WRAP, PROP_KP_UNWRAP };
/* Answer one request (JSON of the Go or the Rust library, ocicrypt.md 6.3); `only` is what the gRPC
 * method says it is. Byte strings of the reply are arrays of numbers, which both libraries read.
 * The private keys that a request may carry for other schemes are never looked at nor logged.
 * Fails: PROP_E_INPUT (id "keyprovider-request"), what the provider failed with. */
int prop_kp_answer(const struct prop_kp_provider *p, enum prop_kp_op only,
                   const struct prop_secret *request, struct prop_secret **ret_reply,
                   struct prop_err *err);

/* Serve the gRPC KeyProviderService (HTTP/2 with prior knowledge) on "unix:PATH" or
 * "127.0.0.1:PORT" (port 0 picks one) until a stop is requested. `ready` gets the address. The
 * socket file is made 0600 and removed at the end. `log` gets a line per call, without secrets.
 * Only processes of our own user and of root are served, unless `any_user` says otherwise.
 * Fails: PROP_E_USAGE (id "listen-not-loopback") any address others can reach, (id "listen") no
 * address; PROP_E_NETWORK (id "listen"). */
struct prop_kp_serve {
    const char *listen;
    bool any_user;
    const struct prop_kp_provider *provider;
    void (*ready)(void *ctx, const char *address);
    void (*log)(void *ctx, const char *line);
    void *ctx;
};
int prop_kp_serve(const struct prop_kp_serve *s, struct prop_err *err);

/* --- asking ----------------------------------------------------------------------------------- */

/* The providers of an ocicrypt configuration; path NULL = the file that OCICRYPT_KEYPROVIDER_CONFIG
 * names (unset: none, and no failure). Fails: PROP_E_INPUT (id "keyprovider-config"). */
struct prop_kp_config;
int prop_kp_config_load(const char *path, struct prop_kp_config **ret, struct prop_err *err);
void prop_kp_config_free(struct prop_kp_config *c);
PROP_DEFINE_AUTO(struct prop_kp_config *, prop_kp_config_free)
#define prop_auto_kp_config __attribute__((cleanup(prop_kp_config_free_p)))
bool prop_kp_config_has(const struct prop_kp_config *c, const char *name);

/* One call. No params: ocicrypt's word for none, "Enabled", is sent. The annotation is never empty.
 * Fails: PROP_E_NOTFOUND (id "no-such-provider"; "provider-missing": its program);
 * PROP_E_REMOTE (id "provider-failed") with what it said; PROP_E_NETWORK (id "provider-timeout",
 * "provider-unreachable"); PROP_E_UNSUPPORTED (id "provider-kind": ttrpc, native; "provider-tls");
 * PROP_E_DENIED (id "provider-plain") plain gRPC to another machine; PROP_E_INPUT (id
 * "keyprovider-config") an entry that makes no sense. */
int prop_kp_wrap(const struct prop_kp_config *c, const char *name, const char *const *params,
                 size_t n_params, const struct prop_secret *privopts, struct prop_buf *annotation,
                 struct prop_err *err);
int prop_kp_unwrap(const struct prop_kp_config *c, const char *name, const char *const *params,
                   size_t n_params, const void *annotation, size_t len, struct prop_secret **ret,
                   struct prop_err *err);

#endif
