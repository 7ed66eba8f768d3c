/* Recipients of a layer key: who it is wrapped for, and what opens it again (ocicrypt.md 2, 5, 8). */
#ifndef PROP_OCICRYPT_RECIPIENT_H
#define PROP_OCICRYPT_RECIPIENT_H

#include "kbs/kbs.h"
#include "keys/resource_id.h"
#include "oci/manifest.h"
#include "util/err.h"
#include "util/secret.h"

/* A list of recipients, filled from `-r` arguments or by hand. */
struct prop_recipients;
int prop_recipients_new(struct prop_recipients **ret, struct prop_err *err);
void prop_recipients_free(struct prop_recipients *r);
/* "jwe:FILE", "provider:attestation-agent:keypath=F::keyid=K::algorithm=A256GCM". */
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
 * layer descriptor object; its media type gets "+encrypted". Each provider packet is unwrapped
 * again as a check before it is written. */
int prop_recipients_wrap(const struct prop_recipients *r, const struct prop_secret *privopts,
                         const char *pubopts, json_t *layer_descriptor, struct prop_err *err);

/* Read back: does every recipient open this layer again? Packets are opened with the KEKs at hand
 * and must all give the same private options, stating `plain` (NULL = any); JWE recipients, whose
 * private half is elsewhere, must be there by number.
 * Fails: PROP_E_VERIFY (id "recipient-missing", "kek-wrong"), PROP_E_INPUT. */
int prop_recipients_verify(const struct prop_recipients *r, const struct prop_descriptor *layer,
                           const struct prop_digest *plain, struct prop_err *err);

/* What can open layers. */
struct prop_openers;
int prop_openers_new(struct prop_openers **ret, struct prop_err *err);
void prop_openers_free(struct prop_openers *o);
/* skopeo's --decryption-key: private key file (PEM, JWK; F:file=PW, F:fd=N), or a KEK file. */
int prop_openers_add(struct prop_openers *o, const char *spec, struct prop_err *err);
/* A KEK in memory (copied). */
int prop_openers_add_kek(struct prop_openers *o, const struct prop_secret *kek,
                         struct prop_err *err);
/* Take A256CTR packets, whose wrapping has no integrity: refused otherwise (PROP_E_DENIED, id
 * "a256ctr-refused"), before any KEK is asked for. */
void prop_openers_allow_a256ctr(struct prop_openers *o, bool allow);
/* A callback that yields the KEK for a kid (propcvm: RCAR at the configured KBS). */
typedef int (*prop_kek_fn)(void *ctx, const struct prop_resource_id *kid,
                           struct prop_secret **ret, struct prop_err *err);
void prop_openers_set_kek_source(struct prop_openers *o, prop_kek_fn fn, void *ctx);

/* Unwrap the private options of an encrypted layer; every block of every scheme is tried, a failing
 * scheme never hides another (ocicrypt.md 11). The error of the likeliest block is reported.
 * Fails: PROP_E_VERIFY (id "kek-wrong", "jwe-no-key"), PROP_E_INPUT (id "bad-annotation"),
 * PROP_E_UNSUPPORTED (id "no-usable-scheme"), what the KEK source failed with. */
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

/* Everything that can be told without a key (inspect): object with "encrypted", "scheme"s, "blocks",
 * "kid"s, algorithms, "warnings". Owned. */
int prop_layer_describe(const struct prop_descriptor *layer, json_t **ret, struct prop_err *err);

#endif
