/* SEV and SEV-ES: everything in one hash. */
#include "tee/sev_launch.h"

#include "tee/vmsa.h"

static int begin(const struct prop_ovmf *fw, const struct prop_kernel_hashes *kernel,
                 struct prop_hash **ret, struct prop_err *err)
{
    uint8_t table[PROP_KERNEL_HASHES];
    int rc = kernel ? prop_ovmf_can_hash_kernel(fw, NULL, err) : 0;
    if (rc == 0)
        rc = prop_hash_new(PROP_SHA256, ret, err);
    if (rc == 0)
        rc = prop_hash_update(*ret, fw->data, fw->len, err);
    if (rc < 0 || !kernel)
        return rc;
    prop_kernel_hashes_table(kernel, table);
    return prop_hash_update(*ret, table, sizeof table, err);
}

int prop_sev_launch(const struct prop_ovmf *fw, const struct prop_kernel_hashes *kernel,
                    struct prop_digest *ret, struct prop_err *err)
{
    prop_auto_hash struct prop_hash *h = NULL;
    int rc = begin(fw, kernel, &h, err);
    return rc == 0 ? prop_hash_final(h, ret, err) : rc;
}

int prop_sev_es_launch(const struct prop_ovmf *fw, const struct prop_kernel_hashes *kernel,
                       unsigned vcpus, uint32_t cpu_signature, struct prop_digest *ret,
                       struct prop_err *err)
{
    prop_auto_hash struct prop_hash *h = NULL;
    uint8_t page[PROP_PAGE];
    if (!fw->has_reset)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "firmware-no-reset",
                               "firmware '%s' does not say where SEV-ES vCPUs start", fw->what);
    int rc = begin(fw, kernel, &h, err);
    for (unsigned i = 0; rc == 0 && i < vcpus; i++) {
        if (i < 2)
            prop_vmsa_page(PROP_VMM_QEMU, i == 0 ? PROP_VMSA_RESET : fw->reset_eip, cpu_signature, 0,
                           page);
        rc = prop_hash_update(h, page, sizeof page, err);
    }
    return rc == 0 ? prop_hash_final(h, ret, err) : rc;
}
