/* configfs-tsm against a folder that plays the kernel: this program brings its own mkdir and rmdir,
 * which fill and empty request slots as configfs does. Real hardware was not there to ask. */
#include "test_tee.h"

#include "tee/tsm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static char root[] = "/tmp/prop-tsm-XXXXXX";
static struct {
    const char *provider;
    int foreign_writes;   /* so many slots are written by somebody else */
    int mkdir_errno;
    bool no_outblob;
    int read_errno;       /* of reading outblob, so many times */
    int failing_reads, slept;
    bool late_writer;     /* somebody else writes while outblob is read */
    uint8_t outblob[(128 << 10) + 1];
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

int nanosleep(const struct timespec *t, struct timespec *left)
{
    (void)t, (void)left;
    kernel.slept++;
    return 0;
}

ssize_t read(int fd, void *buf, size_t len)
{
    char link[64], path[512] = { 0 };
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bool outblob = readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, root) &&
                   strstr(path, "/outblob");
    if (outblob && kernel.late_writer) {
        path[strlen(path) - strlen("/outblob")] = 0;
        put(path, "generation", "2\n", 2);
        kernel.late_writer = false;
    }
    if (outblob && kernel.read_errno && kernel.failing_reads-- > 0) {
        errno = kernel.read_errno;
        return -1;
    }
    return syscall(SYS_read, fd, buf, len);
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
    static const int others[] = { EACCES, EROFS, ENOSPC, ENOENT };
    for (size_t i = 0; i < PROP_ARRAY_LEN(others); i++) {
        kernel.mkdir_errno = others[i];
        refused(PROP_E_UNSUPPORTED, "no-tsm");
    }
    kernel.mkdir_errno = EEXIST; /* each name that is picked is taken */
    refused(PROP_E_UNSUPPORTED, "no-tsm");
}

/* Each answer of the kernel with a hint of its own; the slot is gone in every case. */
static void test_errors_of_outblob(void **state)
{
    (void)state;
    static const int all[] = { EINVAL, ETIMEDOUT, EFBIG, ENXIO, EIO, EBUSY, EINTR, ENOTTY, ENOMEM,
                               EACCES, EPERM, ENOENT, ENOSYS };
    char hints[PROP_ARRAY_LEN(all)][384] = { "" };
    for (size_t i = 0; i < PROP_ARRAY_LEN(all); i++) {
        prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
        struct prop_err err = PROP_ERR_INIT;
        kernel.outblob_len = 8;
        kernel.read_errno = all[i];
        kernel.failing_reads = 1000;
        kernel.slept = 0;
        assert_int_equal(get(&r, &err), PROP_E_IO);
        assert_string_equal(prop_err_id(&err), "tsm-refused");
        assert_int_equal(err.sys_errno, all[i]);
        (void)snprintf(hints[i], sizeof(hints[i]), "%s", err.hint);
        for (size_t j = 0; j < i; j++) /* only EACCES and EPERM mean the same */
            assert_true(strcmp(hints[i], hints[j]) != 0 || (all[i] == EPERM && all[j] == EACCES));
        assert_int_equal(kernel.slept > 0, all[i] == EBUSY || all[i] == EINTR);
        assert_int_equal(kernel.made, kernel.removed);
    }
}

static void test_a_busy_host_is_asked_again(void **state)
{
    (void)state;
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    kernel.outblob_len = 8;
    kernel.read_errno = EBUSY;
    kernel.failing_reads = 4;
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(kernel.slept, 4);
    assert_int_equal(kernel.made, 1);
    prop_tsm_report_release(&r);
    /* The slot changed: another one is taken, at once. */
    kernel.read_errno = EWOULDBLOCK;
    kernel.failing_reads = 2;
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(kernel.made, 4);
    kernel.failing_reads = 3;
    refused(PROP_E_IO, "tsm-busy");
}

static void test_somebody_writes_while_the_report_is_made(void **state)
{
    (void)state;
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    kernel.outblob_len = 8;
    kernel.late_writer = true;
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(kernel.made, 2);
    assert_int_equal(kernel.removed, 2);
}

static void test_a_blob_without_end(void **state)
{
    (void)state;
    kernel.outblob_len = sizeof(kernel.outblob);
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(get(&r, &err), PROP_E_LIMIT);
    assert_int_equal(kernel.made, kernel.removed);
}

/* The whole way: provider found, report asked for, evidence built; 48 bytes come back as 64. */
static void test_snp_evidence_through_configfs(void **state)
{
    (void)state;
    struct prop_tee_machine m = bare;
    struct prop_tee_ask ask = { .tee = PROP_TEE_NONE };
    prop_auto_tee_answer struct prop_tee_answer a = PROP_TEE_ANSWER_INIT;
    m.tsm_root = root;
    memset(ask.report_data, 0x5a, sizeof(ask.report_data));
    kernel.outblob[0] = 3;
    kernel.outblob_len = 1184;
    assert_int_equal(prop_tee_choose_on(&m, "auto", &ask.tee, NULL), 0);
    assert_int_equal(ask.tee, PROP_TEE_SNP);
    assert_int_equal(prop_tee_evidence_on(&m, &ask, &a, NULL), 0);
    REFUSED(prop_tee_checks_verdict(&a.checks, err), PROP_E_VERIFY, "report-data");
    memcpy(kernel.outblob + 0x50, ask.report_data, sizeof(ask.report_data));
    assert_int_equal(prop_tee_evidence_on(&m, &ask, &a, NULL), 0);
    assert_int_equal(prop_tee_checks_verdict(&a.checks, NULL), 0);
    assert_true(json_is_object(json_object_get(a.json, "attestation_report")));
    assert_int_equal(kernel.made, kernel.removed);
}

static void test_tdx_is_found_by_its_provider(void **state)
{
    (void)state;
    struct prop_tee_machine m = bare;
    enum prop_tee tee = PROP_TEE_NONE;
    m.tsm_root = root;
    m.sev_guest = "/dev/null";
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
        cmocka_unit_test_setup(test_errors_of_outblob, setup),
        cmocka_unit_test_setup(test_a_busy_host_is_asked_again, setup),
        cmocka_unit_test_setup(test_somebody_writes_while_the_report_is_made, setup),
        cmocka_unit_test_setup(test_a_blob_without_end, setup),
        cmocka_unit_test_setup(test_snp_evidence_through_configfs, setup),
        cmocka_unit_test_setup(test_tdx_is_found_by_its_provider, setup),
    };
    assert_non_null(mkdtemp(root));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(root);
    return failed;
}
