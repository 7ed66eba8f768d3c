/* Where generated KEKs are kept: $XDG_DATA_HOME/prop/keys (0700), one file of 32 raw bytes (0600)
 * per KEK, named by its fingerprint. A KEK is synced to disk here before anything encrypted with
 * it leaves the machine: nobody can read one back from a key broker. */
#ifndef PROP_KEYS_KEK_STORE_H
#define PROP_KEYS_KEK_STORE_H

#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

/* Keep `kek` as kek-<fingerprint>.bin, written and synced when this returns; the same KEK already
 * being there is fine. ret_path (may be NULL) receives the file's path, owned by the caller.
 * Fails: PROP_E_EXISTS (id "kek-store") another content under that name; PROP_E_DENIED (id
 * "key-folder-mode") others can write to the folder; PROP_E_IO. */
int prop_kek_store_new(const struct prop_secret *kek, char **ret_path, struct prop_err *err);

/* The KEK with this fingerprint (16 hex digits), owned by the caller.
 * Fails: PROP_E_NOTFOUND (id "kek-not-kept"); PROP_E_INPUT not a fingerprint; PROP_E_VERIFY (id
 * "kek-store") the file holds another KEK; PROP_E_DENIED others can read or write it. */
int prop_kek_store_find(const char *fingerprint, struct prop_secret **ret_kek,
                        struct prop_err *err);

/* Fingerprints of all that are kept, in order: an array of strings, owned; empty when there is no
 * folder yet. Files with other names are not looked at. */
int prop_kek_store_list(json_t **ret, struct prop_err *err);
/* Where the KEK with this fingerprint is, or would be kept; owned by the caller. */
int prop_kek_store_path(const char *fingerprint, char **ret, struct prop_err *err);
/* Remove it from this machine. PROP_E_NOTFOUND (id "kek-not-kept"). */
int prop_kek_store_forget(const char *fingerprint, struct prop_err *err);

#endif
