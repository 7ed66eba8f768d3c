/* Memory that runs out while a launch is measured: each allocation fails once, is told as such, and no
 * value comes out. (util/mem.c is compiled in here with its hook, in place of the library's.) */
#define PROP_TORTURE
#include "util/mem.c"

#include "test_tee_measure.h"

#include "tee/idblock.h"
#include "tee/initdata.h"
#include "tee/rtmr.h"
#include "tee/sev_launch.h"
#include "tee/snp_launch.h"

static struct prop_buf sev_file, tdx_file, kernel_file;
static struct prop_pkey *key;

static int snp(struct prop_err *err)
{
    struct prop_source kernel = prop_source_of(kernel_file.data, kernel_file.len, "kernel");
    struct prop_kernel_hashes h;
    struct prop_sev_metadata m;
    struct prop_snp_vcpus v;
    struct prop_digest d;
    struct prop_ovmf fw;
    uint8_t ld[48];
    int rc = prop_ovmf_parse(sev_file.data, sev_file.len, "firmware", &fw, err);
    if (rc == 0)
        rc = prop_ovmf_sev(&fw, &m, err);
    if (rc == 0)
        rc = prop_kernel_hashes_of(&kernel, &kernel, "quiet", &h, err);
    if (rc == 0)
        rc = prop_snp_launch_firmware(&fw, ld, err);
    if (rc == 0)
        rc = prop_snp_launch_sections(&fw, &m, PROP_VMM_QEMU, &h, ld, err);
    if (rc == 0)
        rc = prop_snp_vcpus_begin(ld, PROP_VMM_QEMU, fw.reset_eip, 0x800f12, 1, &v, err);
    if (rc == 0)
        rc = prop_snp_vcpus_add(&v, err);
    return rc == 0 ? prop_sev_es_launch(&fw, &h, 2, 0x800f12, &d, err) : rc;
}

static int tdx(struct prop_err *err)
{
    struct prop_source kernel = prop_source_of(kernel_file.data, kernel_file.len, "kernel");
    const struct prop_rtmr0_files acpi = { &kernel, &kernel, &kernel };
    const struct prop_linux_boot boot = { 1u << 30, true, 5000, "quiet" };
    struct prop_rtmr_profile p;
    struct prop_digest d;
    struct prop_rtmr r;
    struct prop_tdvf t;
    struct prop_ovmf fw;
    uint8_t mrtd[PROP_MRTD];
    int rc = prop_rtmr_profile_parse("edk2-202411+qemu-10.1", &p, err);
    if (rc == 0)
        rc = prop_ovmf_parse(tdx_file.data, tdx_file.len, "firmware", &fw, err);
    if (rc == 0)
        rc = prop_tdvf_parse(&fw, &t, err);
    if (rc == 0)
        rc = prop_mrtd(&fw, &t, PROP_MRTD_PAGES, mrtd, err);
    if (rc == 0)
        rc = prop_rtmr_kernel(&kernel, &boot, &p, &d, err);
    if (rc == 0)
        rc = prop_rtmr1(&d, &p, &r, err);
    if (rc == 0)
        rc = prop_rtmr2("quiet", &d, &p, &r, err);
    return rc == 0 ? prop_rtmr0(&fw, &t, 1u << 30, &acpi, &p, &r, err) : rc;
}

static int others(struct prop_err *err)
{
    static const char text[] = "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n";
    uint8_t block[PROP_ID_BLOCK] = { 0 }, auth[PROP_ID_AUTH], d[48];
    struct prop_initdata init;
    int rc = prop_initdata_read(text, strlen(text), "init-data", &init, err);
    if (rc == 0)
        rc = prop_id_auth(block, key, key, auth, err);
    return rc == 0 ? prop_id_key_digest(key, d, err) : rc;
}

static void torture(int (*job)(struct prop_err *err), long least)
{
    long n = 1, unmet = 0;
    for (; unmet == 0; n++) {
        struct prop_err err = PROP_ERR_INIT;
        (void)prop_torture(n);
        int rc = job(&err);
        unmet = prop_torture(0);
        assert_int_equal(rc, unmet > 0 ? 0 : PROP_E_NOMEM);
        assert_int_equal(err.code, rc);
    }
    assert_true(n > least);
}

static void test_snp(void **state)
{
    (void)state;
    torture(snp, 4);
}

static void test_tdx(void **state)
{
    (void)state;
    torture(tdx, 8);
}

static void test_id_block_and_init_data(void **state)
{
    (void)state;
    torture(others, 4);
}

static int set_up(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    sev_file = measure_bytes("fw-kernel-hashes.bin");
    tdx_file = measure_bytes("fw-tdx.bin");
    kernel_file = measure_bytes("kernel.bin");
    return prop_pkey_generate(PROP_PKEY_P384, 0, &key, &err);
}

static int tear_down(void **state)
{
    (void)state;
    prop_buf_release(&sev_file);
    prop_buf_release(&tdx_file);
    prop_buf_release(&kernel_file);
    prop_pkey_free(key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snp),
        cmocka_unit_test(test_tdx),
        cmocka_unit_test(test_id_block_and_init_data),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
