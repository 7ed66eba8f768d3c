#include "vm/firmware.h"

#include "tee/ovmf.h"
#include "tee/tdvf.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Builds for SEV first: they alone measure a kernel. Debian and Ubuntu, Fedora, Arch, openSUSE. */
static const char *const for_sev[] = {
    "/usr/share/ovmf/OVMF.amdsev.fd",        "/usr/share/OVMF/OVMF.amdsev.fd",
    "/usr/share/edk2/ovmf/OVMF.amdsev.fd",   "/usr/share/edk2/x64/OVMF.amdsev.fd",
    "/usr/share/qemu/ovmf-x86_64-sev.bin",   "/usr/share/ovmf/OVMF.fd",
    NULL
};
static const char *const for_tdx[] = {
    "/usr/share/ovmf/OVMF.inteltdx.fd",      "/usr/share/OVMF/OVMF.inteltdx.fd",
    "/usr/share/edk2/ovmf/OVMF.inteltdx.fd", "/usr/share/edk2/x64/OVMF.inteltdx.fd",
    "/usr/share/qemu/ovmf-x86_64-tdx.bin",   "/usr/share/ovmf/OVMF.fd",
    NULL
};

static int check_sev(const struct prop_ovmf *fw, enum prop_vm_mode mode, bool measured,
                     struct prop_err *err)
{
    struct prop_sev_metadata sev;
    const bool snp = mode == PROP_VM_SNP;
    int rc = snp ? prop_ovmf_sev(fw, &sev, err) : 0;

    if (rc == 0 && measured)
        rc = prop_ovmf_can_hash_kernel(fw, snp ? &sev : NULL, err);
    return rc;
}

static int check_tdx(const struct prop_ovmf *fw, bool measured, struct prop_err *err)
{
    struct prop_tdvf tdvf;
    int rc = prop_tdvf_parse(fw, &tdvf, err);

    return rc == 0 && measured ? prop_tdvf_can_measure(fw, err) : rc;
}

static int check(const char *path, enum prop_vm_mode mode, bool measured, struct prop_err *err)
{
    prop_auto_buf struct prop_buf data = PROP_BUF_INIT(PROP_OVMF_MAX);
    struct prop_ovmf fw;
    int rc = prop_file_read(path, &data, err);

    if (rc)
        return rc;
    rc = prop_ovmf_parse(data.data, data.len, path, &fw, err);
    if (rc == 0)
        rc = mode == PROP_VM_TDX ? check_tdx(&fw, measured, err) : check_sev(&fw, mode, measured, err);
    return rc;
}

/* The first of the places whose file will do; where none will, the failure of the one that is there. */
static int search(const char *root, const char *const *places, enum prop_vm_mode mode, bool measured,
                  char **ret_path, struct prop_err *err)
{
    struct prop_err why = PROP_ERR_INIT;

    for (; *places; places++) {
        prop_auto_free char *path = prop_asprintf("%s%s", root, *places);
        if (!path)
            return prop_err_nomem(err);
        if (access(path, F_OK))
            continue;
        prop_err_clear(&why);
        if (check(path, mode, measured, &why) == 0) {
            *ret_path = PROP_TAKE(path);
            return 0;
        }
    }
    if (why.code == PROP_OK) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-firmware",
                              "there is no firmware for %s guests in the usual places under "
                              "/usr/share (ovmf, OVMF, edk2, qemu)", prop_vm_mode_name(mode));
        return prop_err_hint(err, "name it with --firmware: %s",
                             mode == PROP_VM_TDX ? PROP_OVMF_TDX_BUILD : PROP_OVMF_SEV_BUILD);
    }
    *err = why;
    return err->code;
}

int prop_vm_firmware_find(const char *root, const char *named, enum prop_vm_mode mode, bool measured,
                          char **ret_path, struct prop_err *err)
{
    if (!named && mode == PROP_VM_NONE) {
        *ret_path = NULL;
        return 0;
    }
    if (!named)
        return search(root, mode == PROP_VM_TDX ? for_tdx : for_sev, mode, measured, ret_path, err);
    if (access(named, R_OK))
        return prop_err_set_id(err, PROP_E_NOTFOUND, "no-firmware",
                               "the firmware '%s' cannot be read", named);
    int rc = mode == PROP_VM_NONE ? 0 : check(named, mode, measured, err);
    char *path = rc == 0 ? prop_strdup(named) : NULL;
    if (rc == 0 && !path)
        rc = prop_err_nomem(err);
    if (rc == 0)
        *ret_path = path;
    return rc;
}
