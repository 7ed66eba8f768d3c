/* Who may open, and with what: the options that encrypt, rewrap and decrypt share.
 *
 *     struct encrypt_opts { struct prop_oci_opts oci; struct propenc_recipient_opts who; };
 *     static const struct prop_opt options[] = {
 *         PROPENC_RECIPIENT_OPTIONS(struct encrypt_opts, who),   // encrypt, rewrap
 *         PROPENC_KEY_OPTIONS(struct encrypt_opts, who),         // all three
 *         ...
 *     struct prop_openers *openers = NULL;
 *     struct prop_recipients *to = NULL;
 *     rc = propenc_fill_openers(cli, &o->who, false, &openers, err);
 *     rc = propenc_fill_recipients(cli, &o->who, openers, dry_run, &to, err);
 *     ...
 * out:
 *     prop_recipients_free(to);
 *     prop_openers_free(openers);
 *     propenc_recipient_opts_release(&o->who);               // last: the others borrow from it
 */
#ifndef PROP_CMD_PROPENC_RECIPIENT_OPTS_H
#define PROP_CMD_PROPENC_RECIPIENT_OPTS_H

#include "cmd/cli/cli.h"
#include "cmd/cli/kbs_opts.h"
#include "ocicrypt/recipient.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_kp_config;

/* Member of a verb's option struct. */
struct propenc_recipient_opts {
    struct prop_strs recipients, encryption_keys; /* -r, and skopeo's name for it */
    struct prop_strs keys, decryption_keys;       /* --key, and skopeo's name for it */
    struct prop_kbs_opts kbs;
    const char *provider_config;
    bool generate, replace_key, allow_ctr;
    /* Filled as the options are used; given back by propenc_recipient_opts_release. */
    struct prop_cli *cli;
    struct prop_kbs *client;
    struct prop_kp_config *providers;
    struct prop_kbs_attest how;
    json_t *made;     /* KEKs made: array of {"kid","fingerprint","file","uploaded"}, or NULL */
    bool dry_run;
};

/* Who is to open it. */
#define PROPENC_RECIPIENT_OPTIONS(type, member)                                                    \
    { "recipient", 'r', PROP_OPT_LIST, "RECIPIENT",                                                \
      "who may open it: jwe:PUBKEY, pkcs7:CERT, provider:attestation-agent:keypath=F::keyid=K",    \
      offsetof(type, member.recipients), NULL, NULL, false },                                      \
    { "encryption-key", 0, PROP_OPT_LIST, "RECIPIENT", "skopeo's name for --recipient",            \
      offsetof(type, member.encryption_keys), NULL, NULL, true },                                  \
    { "generate", 0, PROP_OPT_FLAG, NULL,                                                          \
      "make a new KEK for the attestation-agent recipient that names no keypath",                  \
      offsetof(type, member.generate), NULL, NULL, false },                                        \
    { "replace-key", 0, PROP_OPT_FLAG, NULL,                                                       \
      "let --generate overwrite a key that is known to be in use under that key id",               \
      offsetof(type, member.replace_key), NULL, NULL, false },                                     \
    PROP_KBS_ADMIN_OPTIONS(type, member.kbs)

/* What opens it, and where KEKs are asked for. */
#define PROPENC_KEY_OPTIONS(type, member)                                                          \
    { "key", 'k', PROP_OPT_LIST, "KEY",                                                            \
      "private key or certificate (FILE, FILE:file=PASSPHRASE-FILE, FILE:fd=N), 32-byte KEK "      \
      "file, provider:NAME",                                                                       \
      offsetof(type, member.keys), NULL, NULL, false },                                            \
    { "decryption-key", 0, PROP_OPT_LIST, "KEY", "skopeo's name for --key",                        \
      offsetof(type, member.decryption_keys), NULL, NULL, true },                                  \
    { "allow-a256ctr", 0, PROP_OPT_FLAG, NULL,                                                     \
      "key packets wrapped with A256CTR, which have no integrity, may be read and written",        \
      offsetof(type, member.allow_ctr), NULL, NULL, false },                                       \
    { "keyprovider-config", 0, PROP_OPT_STRING, "FILE",                                            \
      "ocicrypt configuration with the key providers that provider:NAME means",                    \
      offsetof(type, member.provider_config), NULL, NULL, false },                                 \
    PROP_KBS_OPTIONS(type, member.kbs),                                                            \
    PROP_KBS_TEE_OPTION(type, member.kbs)

/* The keys of --key, and with --kbs the key broker as the source of KEKs. `required`: none at all
 * is PROP_E_USAGE (id "no-key"); otherwise *ret is NULL when none is given. Owned by the caller;
 * must be freed before `o` is released. */
int propenc_fill_openers(struct prop_cli *cli, struct propenc_recipient_opts *o, bool required,
                         struct prop_openers **ret, struct prop_err *err);

/* The recipients of -r; what is worth a word about them is said. Recipients whose private half is
 * among `openers` (may be NULL, borrowed by the result) are checked by unwrapping. With --generate
 * a KEK is made here: kept in the KEK store, and with --kbs and an admin key or token uploaded,
 * before this returns, so before anything is named; the file is said and noted in o->made.
 * `dry_run` makes one in memory only. Owned by the caller; must be freed before `o` is released.
 * Fails: PROP_E_USAGE (id "no-recipient", "generate-unused"), PROP_E_EXISTS (id "kid-in-use"), what
 * the recipients, the KEK store and the key broker fail with. */
int propenc_fill_recipients(struct prop_cli *cli, struct propenc_recipient_opts *o,
                            const struct prop_openers *openers, bool dry_run,
                            struct prop_recipients **ret, struct prop_err *err);

/* Once the image has its name: add "keks" to the verb's result when --generate made any, and note in
 * the ledger that those at the key broker open doc's "destination" with doc's "digest", so that
 * revoking tells what dies with them. Not being able to note it is only warned about. */
int propenc_report_made(const struct propenc_recipient_opts *o, json_t *doc, struct prop_err *err);

/* Connection, providers and notes. Fine after zeroing, and twice. */
void propenc_recipient_opts_release(struct propenc_recipient_opts *o);

#endif
