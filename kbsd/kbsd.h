/* The development KBS: one process, one SQLite file, sample evidence only, never for production.
 * It answers as Trustee's KBS does (kbs.md, transcripts/kbs-*.http). */
#ifndef PROP_KBSD_KBSD_H
#define PROP_KBSD_KBSD_H

#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_kbsd_config {
    const char *listen;         /* "127.0.0.1:8080"; port 0 picks one */
    const char *state_dir;      /* admin.key, admin.pub, kbs.db, ca.pem; made when absent */
    bool tls;
    const char *issuer, *audience;  /* demanded of admin tokens when not NULL */
    const char *const *acls;    /* "ROLE=REGEX"; none = admin may do everything */
    size_t n_acls;
    bool deny_all;              /* refuse all admin calls */
    bool test_ok;               /* --i-know-this-is-a-test: listen beyond loopback */
    const char *token_key;      /* P-256 PEM for EAR tokens; NULL = made and kept */
    unsigned session_minutes;   /* 0 = 5 */
    /* Told of every answer when not NULL: "POST /kbs/v0/attest 401 AttestationError (cause)", one
     * line of clean text without secrets. */
    void (*log)(void *ctx, unsigned status, const char *line);
    void *log_ctx;
};
/* Serve until a stop is requested. `ready` is called with "http(s)://host:port" once listening. */
int prop_kbsd_serve(const struct prop_kbsd_config *c, void (*ready)(void *ctx, const char *url),
                    void *ctx, struct prop_err *err);

#endif
