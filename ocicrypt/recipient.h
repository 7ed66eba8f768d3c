/* Recipients of a layer key: who it is wrapped for, what opens it again (ocicrypt.md 2, 5, 8). */
#ifndef PROP_OCICRYPT_RECIPIENT_H
#define PROP_OCICRYPT_RECIPIENT_H

#include "kbs/kbs.h"
#include "keys/resource_id.h"
#include "oci/manifest.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>

/* A callback that yields the KEK for a kid (propcvm: RCAR at the configured KBS). */
typedef int (*prop_kek_fn)(void *ctx, const struct prop_resource_id *kid,
                           struct prop_secret **ret, struct prop_err *err);

/* How an attestation-agent recipient without `keypath` gets its KEK. Where both are there, a new
 * KEK is made. */
struct prop_kek_supply {
    /* The KEK that the key broker has under `kid`; NULL: nobody can be asked. */
    prop_kek_fn fetch;
    /* A fresh KEK, kept where it is found again (and given to the key broker, where that is asked
     * for) before this returns. `kid` comes empty when none was named, and is then filled in. NULL:
     * none is made. */
    int (*generate)(void *ctx, struct prop_resource_id *kid, struct prop_secret **ret,
                    struct prop_err *err);
    void *ctx;
};

/* A list of recipients, filled from `-r` arguments or by hand. */
struct prop_recipients;
struct prop_openers;
struct prop_kp_config;
int prop_recipients_new(struct prop_recipients **ret, struct prop_err *err);
void prop_recipients_free(struct prop_recipients *r);
PROP_DEFINE_AUTO(struct prop_recipients *, prop_recipients_free)
#define prop_auto_recipients __attribute__((cleanup(prop_recipients_free_p)))

/* What arguments added later may make use of; all borrowed, and must outlive the list.
 * supply   KEKs of recipients without keypath (copied; its ctx is borrowed)
 * a256ctr  "algorithm=A256CTR" may be written
 * openers  keys at hand: every recipient whose private half is among them is checked by unwrapping
 * config   key providers for "provider:NAME". attestation-agent is ours, unless
 *          `agent_is_external`, which is for a configuration that the user named for this call */
void prop_recipients_set_supply(struct prop_recipients *r, const struct prop_kek_supply *supply);
void prop_recipients_allow_a256ctr(struct prop_recipients *r, bool allow);
void prop_recipients_set_openers(struct prop_recipients *r, const struct prop_openers *openers);
void prop_recipients_set_providers(struct prop_recipients *r, const struct prop_kp_config *config,
                                   bool agent_is_external);

/* One recipient, as skopeo's --encryption-key names it:
 *   jwe:FILE[:alg=NAME]            public key (PEM, DER, certificate, JWK), or a private one, with
 *                                  which what was wrapped is unwrapped as a check; alg is RSA-OAEP,
 *                                  RSA-OAEP-256 or ECDH-ES+A256KW (default: the JWK's, else by key)
 *   pkcs7:FILE                     RSA certificate (PEM or DER)
 *   provider:attestation-agent[:keypath=F][::keyid=K][::algorithm=A256GCM|A256CTR]
 *   provider:NAME[:PARAMS]         a key provider of the configuration; asked once per layer with
 *                                  all of its PARAMS
 * Fails: PROP_E_USAGE (id "bad-recipient", "duplicate-recipient"), PROP_E_UNSUPPORTED (id
 * "recipient-unsupported": pgp, pkcs11; "recipient-key"; "a256ctr-refused"), PROP_E_NOTFOUND (id
 * "no-such-provider"), what reading the key or the KEK supply failed with. */
int prop_recipients_add(struct prop_recipients *r, const char *spec, struct prop_err *err);
/* attestation-agent recipient from a KEK in memory (borrowed: copied). A kid with a host is refused
 * (PROP_E_USAGE, id "kid-host"), as is the same kid twice (id "duplicate-recipient") and the key
 * provider's published sample key (PROP_E_DENIED, id "public-kek"). */
int prop_recipients_add_kek(struct prop_recipients *r, const struct prop_secret *kek,
                            const struct prop_resource_id *kid, struct prop_err *err);
size_t prop_recipients_count(const struct prop_recipients *r);
/* What is worth a word about the recipients given: array of strings, may be empty; borrowed. */
const json_t *prop_recipients_warnings(const struct prop_recipients *r);

/* Wrap private options for every recipient and write the annotations (keys and pubopts) into the
 * layer descriptor object; its media type gets "+encrypted". Where the secret or the private half
 * is at hand, what was wrapped is unwrapped again as a check before this returns. */
int prop_recipients_wrap(const struct prop_recipients *r, const struct prop_secret *privopts,
                         const char *pubopts, json_t *layer_descriptor, struct prop_err *err);

/* Add the recipients to a layer that is encrypted already: their blocks are appended, everything
 * else stays. One that is there already (it opens with the key at hand, or names the same
 * certificate, or the same JWK kid) is not added twice. ret_added counts those added. */
int prop_recipients_append(const struct prop_recipients *r, const struct prop_secret *privopts,
                           json_t *layer_descriptor, size_t *ret_added, struct prop_err *err);

/* Read back: does every recipient open this layer again? Where a key is at hand they must all give
 * the same private options, stating `plain` (NULL = any); the others must be there by number.
 * Fails: PROP_E_VERIFY (id "recipient-missing", "kek-wrong"), PROP_E_INPUT. */
int prop_recipients_verify(const struct prop_recipients *r, const struct prop_descriptor *layer,
                           const struct prop_digest *plain, struct prop_err *err);

/* What can open layers. */
int prop_openers_new(struct prop_openers **ret, struct prop_err *err);
void prop_openers_free(struct prop_openers *o);
PROP_DEFINE_AUTO(struct prop_openers *, prop_openers_free)
#define prop_auto_openers __attribute__((cleanup(prop_openers_free_p)))
/* One key, as skopeo's --decryption-key names it: private key file (PEM, DER, JWK; F:file=PW,
 * F:fd=N), the certificate that pkcs7 needs beside it, a KEK file, or "provider:NAME[:PARAMS]", a
 * key provider of the configuration. "provider:attestation-agent" is ours: it stands for the KEK
 * source, and with ":keypath=F" for the KEK file F.
 * Fails: PROP_E_UNSUPPORTED (id "key-unsupported": an OpenPGP key ring, a PKCS#11 file),
 * PROP_E_NOTFOUND (id "no-such-provider"), PROP_E_USAGE (id "no-kek-source"), PROP_E_INPUT. */
int prop_openers_add(struct prop_openers *o, const char *spec, struct prop_err *err);
/* A KEK in memory (copied). */
int prop_openers_add_kek(struct prop_openers *o, const struct prop_secret *kek,
                         struct prop_err *err);
/* Take A256CTR packets, whose wrapping has no integrity: refused otherwise (PROP_E_DENIED, id
 * "a256ctr-refused"), before any KEK is asked for. */
void prop_openers_allow_a256ctr(struct prop_openers *o, bool allow);
/* Whom to ask for KEKs that are not at hand, and the key providers for "provider:NAME" (as
 * prop_recipients_set_providers); before the first prop_openers_add that needs them. */
void prop_openers_set_kek_source(struct prop_openers *o, prop_kek_fn fn, void *ctx);
void prop_openers_set_providers(struct prop_openers *o, const struct prop_kp_config *config,
                                bool agent_is_external);

/* Unwrap the private options of an encrypted layer; every block of every scheme is tried, a failing
 * scheme never hides another (ocicrypt.md 11). Keys at hand come first, then the KEK source, then
 * key providers. The error of the likeliest block is reported.
 * Fails: PROP_E_VERIFY (id "kek-wrong", "jwe-no-key"), PROP_E_INPUT (id "bad-annotation"),
 * PROP_E_UNSUPPORTED (id "no-usable-scheme", "pgp-unsupported", "pkcs11-unsupported"), what the
 * KEK source failed with. */
int prop_openers_unwrap(struct prop_openers *o, const struct prop_descriptor *layer,
                        struct prop_secret **ret_privopts, char **ret_pubopts,
                        struct prop_err *err);

/* PROP_E_VERIFY (id "plain-digest-mismatch") when a Wasm layer's plaintext is not what its private
 * options state. Other types are recompressed by writers on the way in, so that the statement may
 * speak of other bytes (ocicrypt.md 3): never a failure there. `stated` len 0: none, fine. */
int prop_layer_check_stated(const struct prop_descriptor *layer, const struct prop_digest *plain,
                            const struct prop_digest *stated, struct prop_err *err);

/* Is the layer encrypted (media type ends in "+encrypted")? */
bool prop_layer_is_encrypted(const struct prop_descriptor *layer);

/* Everything that can be told without a key (inspect). Owned. {"encrypted","media_type","digest",
 * "size","clear_annotations","warnings"} and for an encrypted layer {"plain_media_type","cipher",
 * "schemes":[{"scheme","blocks","recipients":[...]}]}. A recipient is {"alg","enc","kid","epk_crv"}
 * of jwe, {"kid","wrap_type","version"} of a key packet, {"issuer","serial","alg","enc"} of pkcs7,
 * {"key_id","alg"} of pgp, {"alg","hash"} of pkcs11, else {"bytes"}; unknown members are absent. */
int prop_layer_describe(const struct prop_descriptor *layer, json_t **ret, struct prop_err *err);

#endif
