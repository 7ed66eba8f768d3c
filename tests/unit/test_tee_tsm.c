/* configfs-tsm against a folder that plays the kernel: this program brings its own mkdir and rmdir,
 * which fill and empty request slots as configfs does. Real hardware was not there to ask. */
#include "test_kbs_shared.h"

#include "tee/evidence.h"
#include "tee/machine.h"
#include "tee/tsm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char root[] = "/tmp/prop-tsm-XXXXXX";
static struct {
    const char *provider;
    int foreign_writes;   /* so many slots are written by somebody else */
    int mkdir_errno;
    bool no_outblob;
    uint8_t outblob[2048];
    size_t outblob_len;
    int made, removed;
} kernel;
static const char *const attributes[] = { "provider", "inblob", "generation", "outblob", "auxblob" };

static void put(const char *dir, const char *name, const void *data, size_t len)
{
    prop_auto_free char *path = prop_path_join(dir, name);
    assert_non_null(path);
    assert_int_equal(prop_file_write(path, data, len, 0600, true, NULL), 0);
}

int mkdir(const char *path, mode_t mode)
{
    if (strncmp(path, root, strlen(root)) != 0)
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (kernel.mkdir_errno) {
        errno = kernel.mkdir_errno;
        return -1;
    }
    if (syscall(SYS_mkdirat, AT_FDCWD, path, mode) < 0)
        return -1;
    char line[40];
    (void)snprintf(line, sizeof(line), "%s\n", kernel.provider);
    put(path, "provider", line, strlen(line));
    put(path, "inblob", "", 0);
    const char *generation = kernel.foreign_writes-- > 0 ? "2\n" : "1\n";
    put(path, "generation", generation, 2);
    if (!kernel.no_outblob)
        put(path, "outblob", kernel.outblob, kernel.outblob_len);
    put(path, "auxblob", "", 0);
    kernel.made++;
    return 0;
}

int rmdir(const char *path)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(attributes); i++) {
        char name[512];
        (void)snprintf(name, sizeof(name), "%s/%s", path, attributes[i]);
        (void)unlink(name);
    }
    kernel.removed++;
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

static int setup(void **state)
{
    (void)state;
    memset(&kernel, 0, sizeof(kernel));
    kernel.provider = "sev_guest";
    return 0;
}

static int get(struct prop_tsm_report *r, struct prop_err *err)
{
    uint8_t data[PROP_TSM_INBLOB] = { 1, 2, 3 };
    return prop_tsm_get_report(root, "sev_guest", data, r, err);
}

static void refused(int code, const char *id)
{
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(get(&r, &err), code);
    assert_string_equal(prop_err_id(&err), id);
    assert_true(err.hint[0] != 0);
    assert_int_equal(r.outblob.len, 0);
    assert_int_equal(kernel.made, kernel.removed);
}

static void test_report(void **state)
{
    (void)state;
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    memset(kernel.outblob, 7, sizeof(kernel.outblob));
    kernel.outblob_len = 1184;
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(r.outblob.len, 1184);
    assert_string_equal(r.provider, "sev_guest");
    assert_int_equal(kernel.made, 1);
    assert_int_equal(kernel.removed, 1);
}

static void test_somebody_else_writes(void **state)
{
    (void)state;
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    kernel.foreign_writes = 2;
    kernel.outblob_len = 8;
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(kernel.made, 3);
    kernel.foreign_writes = 3;
    prop_tsm_report_release(&r);
    refused(PROP_E_IO, "tsm-busy");
}

static void test_refusals(void **state)
{
    (void)state;
    kernel.mkdir_errno = ENXIO;
    refused(PROP_E_UNSUPPORTED, "no-tsm");
    kernel.mkdir_errno = EPERM;
    refused(PROP_E_UNSUPPORTED, "no-tsm");
    kernel.mkdir_errno = 0;
    kernel.provider = "arm_cca_guest";
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    assert_int_equal(get(&r, &err), PROP_E_UNSUPPORTED);
    kernel.provider = "sev_guest";
    kernel.no_outblob = true;
    refused(PROP_E_IO, "tsm-refused");
}

/* The whole way: provider found, report asked for, evidence built; 48 bytes come back as 64. */
static void test_snp_evidence_through_configfs(void **state)
{
    (void)state;
    struct prop_tee_machine m = { root, "/nonexistent", "/nonexistent", "/nonexistent" };
    uint8_t data[48];
    enum prop_tee tee = PROP_TEE_NONE;
    json_t *e = NULL;
    struct prop_err err = PROP_ERR_INIT;
    memset(data, 0x5a, sizeof(data));
    kernel.outblob[0] = 3;
    kernel.outblob_len = 1184;
    assert_int_equal(prop_tee_choose_on(&m, "auto", &tee, NULL), 0);
    assert_int_equal(tee, PROP_TEE_SNP);
    assert_int_equal(prop_tee_evidence_on(&m, tee, data, sizeof(data), &e, &err), PROP_E_VERIFY);
    assert_null(e);
    memcpy(kernel.outblob + 0x50, data, sizeof(data));
    assert_int_equal(prop_tee_evidence_on(&m, tee, data, sizeof(data), &e, NULL), 0);
    assert_true(json_is_object(json_object_get(e, "attestation_report")));
    json_decref(e);
    assert_int_equal(kernel.made, kernel.removed);
}

static void test_tdx_is_found_by_its_provider(void **state)
{
    (void)state;
    struct prop_tee_machine m = { root, "/dev/null", "/nonexistent", "/nonexistent" };
    enum prop_tee tee = PROP_TEE_NONE;
    kernel.provider = "tdx_guest";
    assert_int_equal(prop_tee_choose_on(&m, "auto", &tee, NULL), 0);
    assert_int_equal(tee, PROP_TEE_TDX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_report, setup),
        cmocka_unit_test_setup(test_somebody_else_writes, setup),
        cmocka_unit_test_setup(test_refusals, setup),
        cmocka_unit_test_setup(test_snp_evidence_through_configfs, setup),
        cmocka_unit_test_setup(test_tdx_is_found_by_its_provider, setup),
    };
    assert_non_null(mkdtemp(root));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(root);
    return failed;
}
