/* The ledger: what this machine published where (SQLite, user's state folder). It answers: which
 * policy did we last upload to this KBS, and which key names are in use with which KEK. */
#ifndef PROP_STORE_LEDGER_H
#define PROP_STORE_LEDGER_H

#include "util/err.h"
#include "util/buf.h"
#include "util/mem.h"

#include <stdbool.h>

struct prop_ledger;
/* Open (path NULL = $XDG_STATE_HOME/prop/ledger.db, made 0600) and wait for other writers. */
int prop_ledger_open(const char *path, struct prop_ledger **ret, struct prop_err *err);
/* As prop_ledger_open, but makes nothing: *ret is NULL when there is no ledger yet. */
int prop_ledger_open_existing(const char *path, struct prop_ledger **ret, struct prop_err *err);
void prop_ledger_close(struct prop_ledger *l);
PROP_DEFINE_AUTO(struct prop_ledger *, prop_ledger_close)
#define prop_auto_ledger __attribute__((cleanup(prop_ledger_close_p)))

/* Hold the write lock across a transaction of several steps (publishers on one host wait for each
 * other). */
int prop_ledger_lock(struct prop_ledger *l, struct prop_err *err);
void prop_ledger_unlock(struct prop_ledger *l);

/* Policies uploaded to a KBS, newest last. `document` is the policy document's text, or NULL. */
int prop_ledger_add_policy(struct prop_ledger *l, const char *kbs_url, const char *rego,
                           const char *document, struct prop_err *err);
/* PROP_E_NOTFOUND when none is known. Both texts owned by the caller; document may come out NULL. */
int prop_ledger_last_policy(struct prop_ledger *l, const char *kbs_url, char **ret_rego,
                            char **ret_document, struct prop_err *err);

/* A key uploaded: name, KEK fingerprint, the image reference it guards. */
int prop_ledger_add_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                        const char *kek_fingerprint, const char *image_ref, struct prop_err *err);
int prop_ledger_forget_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                           struct prop_err *err);
/* Fingerprint stored for a name; PROP_E_NOTFOUND when the ledger does not know it. */
int prop_ledger_find_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                         char ret_fingerprint[17], struct prop_err *err);

#endif
