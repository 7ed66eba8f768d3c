/* What is in a backup: the KEKs this machine keeps, and what the ledger knows of them. As JSON:
 *
 *     {"version":1,"time":T,
 *      "keks":[{"fingerprint":F,"kek":"<base64>"}],
 *      "keys":[{"kbs":URL,"path":"r/t/n","fingerprint":F,"images":[{"image":REF,"digest"?:D}]}],
 *      "rotations"?:[{"kbs":URL,"path":"r/t/n","new_path":"r/t/n","fingerprint":F}]}
 *
 * Rotations that were begun: without them the next machine would choose another new name and KEK.
 */
#ifndef PROP_CMD_PROPKEY_BACKUP_DATA_H
#define PROP_CMD_PROPKEY_BACKUP_DATA_H

#include "store/ledger.h"
#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"

/* Gather. `l` may be NULL. ret_summary: {"keks":N,"keys":[{"kbs","path","fingerprint"}],
 * "missing":[...]} (names in the ledger whose KEK is not kept here). Both owned.
 * Fails: PROP_E_NOTFOUND (id "no-keks"), what reading a KEK fails with. */
int propkey_backup_collect(struct prop_ledger *l, struct prop_secret **ret, json_t **ret_summary,
                           struct prop_err *err);

/* Put back: KEKs into the folder, names and images into the ledger. What is there stays as it is.
 * With `dry_run` only looks. ret_report: {"restored":[F...],"present":[F...],"keys":[...],
 * "conflicts":[{"kbs","path","fingerprint","here"}],"rotations":[{"kbs","path","new_path"}]}, owned.
 * Fails: PROP_E_INPUT (id "backup-content"), PROP_E_UNSUPPORTED (id "sealed-version"). */
int propkey_backup_restore(const struct prop_secret *data, struct prop_ledger *l, bool dry_run,
                           json_t **ret_report, struct prop_err *err);

#endif
