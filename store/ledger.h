/* The ledger: what this machine published where (SQLite, user's state folder). It answers: which
 * policy did we last upload to this KBS, and which key names are in use with which KEK. */
#ifndef PROP_STORE_LEDGER_H
#define PROP_STORE_LEDGER_H

#include "store/lock_wait.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct prop_ledger;
/* Open (path NULL = $XDG_STATE_HOME/prop/ledger.db, made 0600) and wait for other writers. */
int prop_ledger_open(const char *path, struct prop_ledger **ret, struct prop_err *err);
/* As prop_ledger_open, but makes nothing: *ret is NULL when there is no ledger yet. */
int prop_ledger_open_existing(const char *path, struct prop_ledger **ret, struct prop_err *err);
void prop_ledger_close(struct prop_ledger *l);
PROP_DEFINE_AUTO(struct prop_ledger *, prop_ledger_close)
#define prop_auto_ledger __attribute__((cleanup(prop_ledger_close_p)))

/* Whom to tell when a lock is waited for (store/lock_wait.h). l NULL is fine. */
void prop_ledger_on_wait(struct prop_ledger *l, prop_lock_wait_fn tell, void *ctx);
/* Hold the write lock across a transaction of several steps: publishers on one host wait for each
 * other, up to five minutes or $PROP_LOCK_TIMEOUT. A holder is busy with a key broker, never with
 * an upload: one that takes so long hangs.
 * Fails: PROP_E_IO (id "ledger-busy"), and going on without the lock is no way out: what it guards
 * are other people's rules and keys. PROP_E_INTERRUPTED. */
int prop_ledger_lock(struct prop_ledger *l, struct prop_err *err);
/* The same, but for at most so long: after a failure that others should not have to wait out. */
int prop_ledger_lock_for(struct prop_ledger *l, uint64_t wait_ms, struct prop_err *err);
void prop_ledger_unlock(struct prop_ledger *l);

/* Policies uploaded to a KBS, newest last. `document` is the policy document's text, or NULL. */
int prop_ledger_add_policy(struct prop_ledger *l, const char *kbs_url, const char *rego,
                           const char *document, struct prop_err *err);
/* PROP_E_NOTFOUND when none is known. Both texts owned by the caller; document may be NULL. */
int prop_ledger_last_policy(struct prop_ledger *l, const char *kbs_url, char **ret_rego,
                            char **ret_document, struct prop_err *err);

/* Number and SHA-256 (hex) of the last one, without its text; *ret_id is 0 when none is known. */
int prop_ledger_last_policy_id(struct prop_ledger *l, const char *kbs_url, int64_t *ret_id,
                               char ret_sha256[65], struct prop_err *err);

/* All of them for one KBS, newest first: an array of {"id","time" (seconds of the epoch),"sha256"
 * (of the Rego text, hex),"bytes","document" (true when one was kept)}. Owned. */
int prop_ledger_policies(struct prop_ledger *l, const char *kbs_url, json_t **ret,
                         struct prop_err *err);
/* One of them by its id. PROP_E_NOTFOUND. Texts as prop_ledger_last_policy gives them. */
int prop_ledger_policy(struct prop_ledger *l, const char *kbs_url, int64_t id, char **ret_rego,
                       char **ret_document, struct prop_err *err);

/* A key uploaded: name, KEK fingerprint ("" for what is no KEK), the image reference it guards.
 * With another KEK under a known name the images of the old one are forgotten; an image_ref opens
 * with this key from now on, not with others of that KBS (for one more recipient see add_image). */
int prop_ledger_add_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                        const char *kek_fingerprint, const char *image_ref, struct prop_err *err);
int prop_ledger_forget_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                           struct prop_err *err);
/* Fingerprint stored for a name; PROP_E_NOTFOUND when the ledger does not know it. */
int prop_ledger_find_key(struct prop_ledger *l, const char *kbs_url, const char *path,
                         char ret_fingerprint[17], struct prop_err *err);
/* Every resource this machine uploaded and did not delete, in the order of their names: an array of
 * {"kbs","path","fingerprint" (absent for what is no KEK),"time","images" (references that are
 * encrypted for it, newest first)}. kbs_url NULL = of all servers. Owned. */
int prop_ledger_keys(struct prop_ledger *l, const char *kbs_url, json_t **ret,
                     struct prop_err *err);
/* One more image that a key opens; adding it again only renews its time. `digest` is that of the
 * manifest, or NULL. prop_ledger_add_key with an image_ref does this too. */
int prop_ledger_add_image(struct prop_ledger *l, const char *kbs_url, const char *path,
                          const char *image_ref, const char *digest, struct prop_err *err);
/* The image is gone, whichever keys it had. */
int prop_ledger_forget_image(struct prop_ledger *l, const char *image_ref, struct prop_err *err);
/* The images of a key: array of {"image","digest"?,"time"}; empty when none is known. Owned. */
int prop_ledger_images(struct prop_ledger *l, const char *kbs_url, const char *path, json_t **ret,
                       struct prop_err *err);

/* A key that is being replaced: noted before anything outside this machine is changed, so that a
 * second run goes on with the same new name and KEK, until the old key is retired. */
int prop_ledger_begin_rotation(struct prop_ledger *l, const char *kbs_url, const char *path,
                               const char *new_path, const char *fingerprint,
                               struct prop_err *err);
/* PROP_E_NOTFOUND (id "no-rotation"). ret_new_path owned. */
int prop_ledger_find_rotation(struct prop_ledger *l, const char *kbs_url, const char *path,
                              char **ret_new_path, char ret_fingerprint[17], struct prop_err *err);
/* All that were begun and are not over: array of {"kbs","path","new_path","fingerprint"}. Owned. */
int prop_ledger_rotations(struct prop_ledger *l, json_t **ret, struct prop_err *err);
int prop_ledger_end_rotation(struct prop_ledger *l, const char *kbs_url, const char *path,
                             struct prop_err *err);

#endif
