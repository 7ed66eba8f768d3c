/* What one running development KBS holds: its folder, keys, tables and compiled policies. All of it
 * belongs to the one thread that serves. */
#ifndef PROP_KBSD_STATE_H
#define PROP_KBSD_STATE_H

#include "crypto/pkey.h"
#include "engine/rego.h"
#include "kbsd/kbsd.h"
#include "kbsd/metrics.h"
#include "store/kbsdb.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

/* Classes of evidence that have a verifier here; the policy of a class is "default_<class>". */
enum prop_kbsd_class { PROP_KBSD_CPU, PROP_KBSD_GPU, PROP_KBSD_CLASSES };

struct prop_kbsd {
    const struct prop_kbsd_config *config; /* borrowed */
    unsigned session_minutes;
    int lock_fd;                    /* held while the folder is in use */
    struct prop_kbsdb *db;
    struct prop_pkey *admin_pub;    /* Ed25519, checks admin tokens */
    struct prop_pkey *token_key;    /* P-256, signs and checks EAR tokens */
    json_t *token_header;           /* of every token, with our public key */
    struct prop_rego *resource_policy;                        /* NULL: compile when needed */
    struct prop_rego *attestation_policy[PROP_KBSD_CLASSES];  /* likewise */
    struct prop_rego *acl;          /* matches the ACL's expressions; NULL without an ACL */
    json_t *acl_rules;              /* [{"role":,"pattern":}] */
    struct prop_kbsd_metrics metrics;
};

/* Open the folder of `config` (made 0700 when absent) and everything in it; what is missing is
 * made: admin.key (PKCS#8, 0600) and admin.pub, token.key, kbs.db with the default policies. A
 * folder that holds admin.pub without admin.key is fine: tokens are signed elsewhere then.
 * Fails: PROP_E_EXISTS (id "kbs-in-use") another process serves from it; PROP_E_INPUT keys of the
 *        wrong kind or that do not belong together; PROP_E_USAGE a malformed ACL; PROP_E_IO. */
int prop_kbsd_open(const struct prop_kbsd_config *config, struct prop_kbsd **ret,
                   struct prop_err *err);

/* A private key file of the folder: read, or made with mode 0600 when it is absent. A file that is
 * there may hold another kind of key than `type`; the caller looks. Owned by the caller. */
int prop_kbsd_key_file(const char *path, enum prop_pkey_type type, struct prop_pkey **ret,
                       struct prop_err *err);
void prop_kbsd_close(struct prop_kbsd *k);
PROP_DEFINE_AUTO(struct prop_kbsd *, prop_kbsd_close)
#define prop_auto_kbsd __attribute__((cleanup(prop_kbsd_close_p)))

#endif
