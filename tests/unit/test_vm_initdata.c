/* What `propcvm init` asks before it believes its configuration: does the launch bind this document? On
 * a machine that is played: the SNP driver by calls, a TD by its registers in sysfs. */
#include "test_tee.h"

#include "tee/sev_guest.h"
#include "tee/tdx_guest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DOCUMENT "version = \"0.1.0\"\nalgorithm = \"sha384\"\n\n[data]\n\"propcvm.json\" = \"{}\"\n"

enum { HOST_DATA_AT = 0xc0, MR_CONFIG_ID_AT = 512 + 64, REPORT_DATA_AT = 128 };

static char root[64];
static uint8_t report[PROP_SNP_REPORT];
static int driver_errno; /* 0: it answers */

enum { SEV_GUEST, TDX_GUEST, MEASUREMENTS, REGISTER, N_PATHS };
static const char *const names[N_PATHS] = { "sev-guest", "tdx-guest", "measurements",
                                            "measurements/mrconfigid" };
static char paths[N_PATHS][128];

static void put(int which, const void *data, size_t len)
{
    assert_int_equal(prop_file_write(paths[which], data, len, 0600, true, NULL), 0);
}

static int drv_open(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* The TD report: what the processor's module says of this TD, with the question in it. */
static int tdx_ioctl(int fd, unsigned long code, void *arg)
{
    struct prop_tdx_report_request *rq = arg;

    (void)fd, (void)code;
    errno = driver_errno;
    if (driver_errno)
        return -1;
    memcpy(rq->report, report, sizeof rq->report);
    memcpy(rq->report + REPORT_DATA_AT, rq->report_data, sizeof rq->report_data);
    return 0;
}

static int drv_ioctl(int fd, unsigned long code, void *arg)
{
    struct prop_snp_call *c = arg;
    const struct prop_snp_request *q = (const void *)(uintptr_t)c->request;
    struct prop_snp_response *r = (void *)(uintptr_t)c->response;

    (void)fd, (void)code;
    if (driver_errno) {
        c->exitinfo2 = UINT64_MAX;
        errno = driver_errno;
        return -1;
    }
    c->exitinfo2 = 0;
    r->report_size = PROP_SNP_REPORT;
    memcpy(r->report, report, PROP_SNP_REPORT);
    memcpy(r->report + 0x50, q->user_data, 64);
    return 0;
}

static void no_pause(unsigned ms)
{
    (void)ms;
}

static struct prop_tee_calls played;

static struct prop_tee_machine machine(void)
{
    struct prop_tee_machine m = bare;

    played = no_calls;
    played.open = drv_open;
    played.close = close;
    played.ioctl = drv_ioctl;
    played.pause = no_pause;
    m.calls = &played;
    m.sev_guest = paths[SEV_GUEST];
    m.tdx_guest = paths[TDX_GUEST];
    m.measurements = paths[MEASUREMENTS];
    return m;
}

static struct prop_initdata pins(const char *text)
{
    struct prop_initdata d;

    assert_int_equal(prop_initdata_read(text, strlen(text), "init-data", &d, NULL), 0);
    return d;
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/prop-init-XXXXXX");
    assert_non_null(mkdtemp(root));
    for (int i = 0; i < N_PATHS; i++)
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s", root, names[i]);
    memset(report, 0, sizeof report);
    driver_errno = 0;
    report[0] = 5;
    report[0x188] = 0x1a;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(paths[SEV_GUEST]);
    (void)unlink(paths[TDX_GUEST]);
    (void)unlink(paths[REGISTER]);
    (void)rmdir(paths[MEASUREMENTS]);
    return rmdir(root);
}

static void test_snp(void **state)
{
    (void)state;
    struct prop_tee_machine m = machine();
    struct prop_initdata good = pins(DOCUMENT), other = pins(DOCUMENT "\"x\" = \"\"\n");
    struct prop_err why = PROP_ERR_INIT;

    put(SEV_GUEST, "", 0);
    memcpy(report + HOST_DATA_AT, good.host_data, sizeof good.host_data);
    assert_int_equal(prop_tee_check_init_data_on(&m, PROP_TEE_SNP, &good, &why), 0);
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_SNP, &other, err), PROP_E_VERIFY,
            "init-data-mismatch");
    for (size_t i = 0; i < sizeof good.host_data; i++) { /* each byte counts */
        report[HOST_DATA_AT + i] ^= 1;
        REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_SNP, &good, err), PROP_E_VERIFY,
                "init-data-mismatch");
        report[HOST_DATA_AT + i] ^= 1;
    }
    memset(report + HOST_DATA_AT, 0, sizeof good.host_data); /* a launch that binds nothing */
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_SNP, &good, err), PROP_E_VERIFY,
            "init-data-mismatch");
}

static void test_snp_without_a_report(void **state)
{
    (void)state;
    struct prop_tee_machine m = machine();
    struct prop_initdata good = pins(DOCUMENT);

    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_SNP, &good, err), PROP_E_UNSUPPORTED, "no-tsm");
    put(SEV_GUEST, "", 0);
    memcpy(report + HOST_DATA_AT, good.host_data, sizeof good.host_data);
    driver_errno = EIO;
    struct prop_err why = PROP_ERR_INIT;
    assert_true(prop_tee_check_init_data_on(&m, PROP_TEE_SNP, &good, &why) < 0);
    assert_true(why.message[0] != 0);
}

static void test_tdx(void **state)
{
    (void)state;
    struct prop_tee_machine m = machine();
    struct prop_initdata good = pins(DOCUMENT), other = pins(DOCUMENT "\"x\" = \"\"\n");
    struct prop_err why = PROP_ERR_INIT;
    uint8_t reg[48];

    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &good, err), PROP_E_UNSUPPORTED,
            "no-tdx-guest");
    assert_int_equal(mkdir(paths[MEASUREMENTS], 0700), 0);
    memcpy(reg, good.mr_config_id, sizeof reg);
    put(REGISTER, reg, sizeof reg);
    assert_int_equal(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &good, &why), 0);
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &other, err), PROP_E_VERIFY,
            "init-data-mismatch");
    for (size_t i = 0; i < sizeof reg; i++) {
        reg[i] ^= 0x80;
        put(REGISTER, reg, sizeof reg);
        REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &good, err), PROP_E_VERIFY,
                "init-data-mismatch");
        reg[i] ^= 0x80;
    }
    put(REGISTER, reg, sizeof reg - 1); /* not all of it: nothing to believe */
    assert_true(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &good, &why) < 0);
}

static void test_td_report(void **state)
{
    (void)state;
    struct prop_tee_machine m = machine();
    struct prop_initdata good = pins(DOCUMENT), other = pins(DOCUMENT "\"x\" = \"\"\n");

    played.ioctl = tdx_ioctl;
    put(TDX_GUEST, "", 0);
    memcpy(report + MR_CONFIG_ID_AT, good.mr_config_id, sizeof good.mr_config_id);
    assert_int_equal(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &good, NULL), 0);
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &other, err), PROP_E_VERIFY,
            "init-data-mismatch");
    memset(report + MR_CONFIG_ID_AT, 0, sizeof good.mr_config_id); /* a launch that binds nothing */
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &good, err), PROP_E_VERIFY,
            "init-data-mismatch");
    driver_errno = EIO;
    assert_true(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &good, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_snp, setup, teardown),
        cmocka_unit_test_setup_teardown(test_snp_without_a_report, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tdx, setup, teardown),
        cmocka_unit_test_setup_teardown(test_td_report, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
