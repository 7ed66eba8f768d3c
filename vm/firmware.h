/* The firmware of a confidential guest: found where distributions put it, and asked whether it can do
 * what the mode promises, before anything is started. */
#ifndef PROP_VM_FIRMWARE_H
#define PROP_VM_FIRMWARE_H

#include "util/err.h"
#include "vm/argv.h"

/* The firmware for a mode: `named`, else the first of the usual places that can do it. With
 * `measured` it must be able to measure a kernel that QEMU loads (direct boot).
 * ret_path: owned, NULL where none is needed (mode none without a name).
 * Fails: PROP_E_NOTFOUND (id "no-firmware"; what was looked at is said), and what tee/ovmf.h and
 * tee/tdvf.h say: PROP_E_UNSUPPORTED (ids "firmware-no-sev", "firmware-no-tdx",
 * "firmware-cannot-measure"), PROP_E_INPUT. `root` is put before the usual places ("" outside tests). */
int prop_vm_firmware_find(const char *root, const char *named, enum prop_vm_mode mode, bool measured,
                          char **ret_path, struct prop_err *err);

#endif
