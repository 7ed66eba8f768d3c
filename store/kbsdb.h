/* The development KBS's tables, in one SQLite file that only its owner can read: resources, the two
 * kinds of policies, reference values, and the sessions of the attestation handshake.
 *
 * One connection, used by one thread. Every call is its own transaction unless it stands between
 * prop_kbsdb_begin and prop_kbsdb_commit, so a process that is killed leaves whole rows only.
 */
#ifndef PROP_STORE_KBSDB_H
#define PROP_STORE_KBSDB_H

#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_kbsdb;

enum prop_kbsdb_table {
    PROP_KBSDB_RESOURCE = 1,
    PROP_KBSDB_RESOURCE_POLICY = 2,
    PROP_KBSDB_ATTESTATION_POLICY = 3,
    PROP_KBSDB_REFERENCE_VALUE = 4
};

/* Open, or make with mode 0600.
 * Fails: PROP_E_IO; PROP_E_INPUT (id "kbs-db") not a database, or of a newer version. */
int prop_kbsdb_open(const char *path, struct prop_kbsdb **ret, struct prop_err *err);
void prop_kbsdb_close(struct prop_kbsdb *db);
PROP_DEFINE_AUTO(struct prop_kbsdb *, prop_kbsdb_close)
#define prop_auto_kbsdb __attribute__((cleanup(prop_kbsdb_close_p)))

/* Several changes as one. A begin without a commit is taken back by rollback or close. */
int prop_kbsdb_begin(struct prop_kbsdb *db, struct prop_err *err);
int prop_kbsdb_commit(struct prop_kbsdb *db, struct prop_err *err);
void prop_kbsdb_rollback(struct prop_kbsdb *db);

/* Store a value under a key, replacing what was there. */
int prop_kbsdb_put(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                   const void *value, size_t len, struct prop_err *err);
/* Store it only if the key is not there yet (defaults of the first start). */
int prop_kbsdb_put_new(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                       const void *value, size_t len, struct prop_err *err);
/* The value of a key; owned by the caller. Fails: PROP_E_NOTFOUND. */
int prop_kbsdb_get(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                   struct prop_secret **ret, struct prop_err *err);
/* Fails: PROP_E_NOTFOUND nothing to delete. The bytes are overwritten in the file. */
int prop_kbsdb_delete(struct prop_kbsdb *db, enum prop_kbsdb_table table, const char *key,
                      struct prop_err *err);
/* All keys of a table in order, as an array of strings owned by the caller. */
int prop_kbsdb_list(struct prop_kbsdb *db, enum prop_kbsdb_table table, json_t **ret,
                    struct prop_err *err);

/* One handshake: opened by /auth, attested once `token` is there. */
struct prop_kbsdb_session {
    char id[33];       /* 32 hex digits */
    char *tee;         /* as the client named it */
    char *nonce;       /* as the challenge named it */
    char *token;       /* NULL until attested */
    int64_t expires_s; /* wall clock */
};
void prop_kbsdb_session_release(struct prop_kbsdb_session *s);
#define prop_auto_kbsdb_session __attribute__((cleanup(prop_kbsdb_session_release)))

/* Store a session, replacing the one of the same id. */
int prop_kbsdb_session_put(struct prop_kbsdb *db, const struct prop_kbsdb_session *s,
                           struct prop_err *err);
/* Fill `ret` (released by the caller). Fails: PROP_E_NOTFOUND unknown, or over at `now_s`. */
int prop_kbsdb_session_get(struct prop_kbsdb *db, const char *id, int64_t now_s,
                           struct prop_kbsdb_session *ret, struct prop_err *err);
/* Drop the sessions that are over at `now_s`. */
int prop_kbsdb_session_purge(struct prop_kbsdb *db, int64_t now_s, struct prop_err *err);

#endif
