/* The three forms of a JWE (RFC 7516 section 7) taken apart into one shape, without any key. */
#ifndef PROP_JOSE_JWE_PARTS_H
#define PROP_JOSE_JWE_PARTS_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

#include <stddef.h>

struct prop_jwe_parts {
    json_t *root;             /* the object; a compact text becomes one, so all below is alike */
    json_t *protected_header; /* parsed; NULL when there is none */
    const char *protected_text; /* as received, "" when absent; borrowed from root */
    const char *aad;            /* base64url text, NULL when absent; borrowed from root */
    const char *iv, *ciphertext, *tag; /* base64url texts; borrowed from root */
    json_t *unprotected;        /* NULL when absent; borrowed from root */
    json_t *recipients;         /* array, or NULL: root is the only recipient; borrowed */
    size_t n_recipients;        /* 1 or more */
};

/* Fails: PROP_E_INPUT (id "bad-jwe" and what JSON reading says) not one of the forms; PROP_E_LIMIT
 * too long, too many recipients. `parts` needs no release after a failure. */
int prop_jwe_parts_init(const char *jwe, size_t len, struct prop_jwe_parts *parts,
                        struct prop_err *err);
void prop_jwe_parts_release(struct prop_jwe_parts *parts);
#define prop_auto_jwe_parts __attribute__((cleanup(prop_jwe_parts_release)))

/* One recipient's headers in one object (owned by the caller): protected, then unprotected, then
 * the recipient's own. RFC 7516 wants the three disjoint; as go-jose has it (ocicrypt.md 5.1) a
 * repeated name is tolerated and the first of them, so the protected one, counts. */
int prop_jwe_parts_header(const struct prop_jwe_parts *parts, size_t i, json_t **ret,
                          struct prop_err *err);

/* One recipient's encrypted_key as base64url text, "" when absent; borrowed. */
int prop_jwe_parts_key(const struct prop_jwe_parts *parts, size_t i, const char **ret,
                       struct prop_err *err);

/* What the tag covers besides the ciphertext: the protected text unchanged, and "." aad when there
 * is one (RFC 7516 section 5.2 step 15). */
int prop_jwe_parts_aad(const struct prop_jwe_parts *parts, struct prop_buf *out,
                       struct prop_err *err);

#endif
