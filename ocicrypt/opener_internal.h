/* Inside ocicrypt/ only: what openers hold, shared by the adding of keys (opener_keys.c), the
 * schemes (opener_schemes.c) and the search (opener.c). */
#ifndef PROP_OCICRYPT_OPENER_INTERNAL_H
#define PROP_OCICRYPT_OPENER_INTERNAL_H

#include "crypto/cert.h"
#include "crypto/pkey.h"
#include "ocicrypt/recipient.h"

/* A KEK that the source gave, so that a kid is asked for once per openers. */
struct prop_known_kek {
    struct prop_resource_id kid;
    struct prop_secret *kek;
};

/* A key provider that the user named, with the PARAMS of all its arguments. */
struct prop_opener_provider {
    char *name;
    char **params;
    size_t n_params;
};

struct prop_openers {
    struct prop_pkey **keys;
    size_t n_keys;
    struct prop_cert **certs;
    size_t n_certs;
    struct prop_secret **keks;
    size_t n_keks;
    struct prop_known_kek *known;
    size_t n_known;
    struct prop_opener_provider *providers;
    size_t n_providers;
    bool allow_ctr;
    prop_kek_fn source;
    void *source_ctx;
    unsigned failed_fetches; /* over all layers */
    const struct prop_kp_config *config;
    bool agent_is_external;
};

/* How near a failure was to success; the highest is told. */
enum prop_rank {
    PROP_RANK_NONE,
    PROP_RANK_MALFORMED,
    PROP_RANK_UNSUPPORTED,
    PROP_RANK_WRONG_KEY,
    PROP_RANK_REFUSED,
    PROP_RANK_SOURCE
};

/* The search for one layer's key. */
struct prop_attempt {
    struct prop_openers *o;
    bool ask; /* second round: key broker and key providers are asked */
    enum prop_rank rank;
    struct prop_err err; /* of that rank */
    unsigned questions;  /* of this layer, so far */
    struct prop_secret *found;
};

/* Remember the failure that was nearest to success; and how near a code is. */
void prop_attempt_failed(struct prop_attempt *a, enum prop_rank rank, const struct prop_err *err);
enum prop_rank prop_attempt_rank(int code);

/* What opens one block of a scheme ("jwe", "provider.x"): true with a->found set, or false. */
typedef bool (*prop_opener_fn)(struct prop_attempt *a, const char *scheme,
                               const struct prop_buf *block);
/* NULL: nothing of ours opens that kind. */
prop_opener_fn prop_opener_find(const char *scheme);

/* The provider that was named for this scheme ("provider.NAME"), or NULL. */
const struct prop_opener_provider *prop_opener_provider_find(const struct prop_openers *o,
                                                             const char *scheme);
/* The private key with this public half among the keys, or NULL; borrowed. */
const struct prop_pkey *prop_openers_private_of(const struct prop_openers *o,
                                                const struct prop_pkey *key);

#endif
