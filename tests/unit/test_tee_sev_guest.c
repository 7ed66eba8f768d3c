/* /dev/sev-guest without hardware: the calls are answered with recorded bytes, and with each failure
 * that driver, host and firmware have. */
#include "test_tee.h"

#include "tee/sev_guest.h"

enum { MAX_CALLS = 16 };

/* What the driver answers, call by call; the last one again and again. */
struct answer {
    int number;            /* errno; 0 = done */
    uint32_t fw, vmm;
    uint32_t certs_len;    /* told with VMM error 1 */
    uint32_t status, size; /* of the answer; size 0 = the right one */
};

static struct {
    const struct answer *script;
    size_t n, calls, closed, paused;
    int open_errno;
    unsigned long codes[MAX_CALLS];
    uint32_t asked_len[MAX_CALLS];
    const uint8_t *report, *certs;
    size_t certs_size;
} driver;

static int drv_open(const char *path)
{
    assert_string_equal(path, "/dev/sev-guest");
    errno = driver.open_errno;
    return driver.open_errno ? -1 : 77;
}

static int drv_close(int fd)
{
    assert_int_equal(fd, 77);
    driver.closed++;
    return 0;
}

static void drv_pause(unsigned ms)
{
    assert_true(ms >= 100);
    driver.paused++;
}

static int drv_ioctl(int fd, unsigned long code, void *arg)
{
    struct prop_snp_call *c = arg;
    const struct prop_snp_request *q = (const void *)(uintptr_t)c->request;
    struct prop_snp_ext_request *x = (void *)(uintptr_t)c->request;
    struct prop_snp_response *r = (void *)(uintptr_t)c->response;
    size_t i = driver.calls++;
    const struct answer *a = &driver.script[i < driver.n ? i : driver.n - 1];
    assert_int_equal(fd, 77);
    assert_true(i < MAX_CALLS);
    assert_int_equal(c->msg_version, 1);
    assert_int_equal(c->exitinfo2, UINT64_MAX);
    assert_int_equal(q->vmpl, 0);
    assert_int_equal(q->user_data[0], 0x5a);
    driver.codes[i] = code;
    driver.asked_len[i] = code == PROP_SNP_GET_EXT_REPORT ? x->certs_len : 0;
    if (a->number) {
        if (a->fw != UINT32_MAX || a->vmm != UINT32_MAX)
            c->exitinfo2 = (uint64_t)a->vmm << 32 | a->fw;
        if (a->vmm == PROP_SNP_VMM_LENGTH)
            x->certs_len = a->certs_len;
        errno = a->number;
        return -1;
    }
    c->exitinfo2 = 0;
    r->status = a->status;
    r->report_size = a->size ? a->size : PROP_SNP_REPORT;
    memcpy(r->report, driver.report, PROP_SNP_REPORT);
    memcpy(r->report + 0x50, q->user_data, 64);
    if (code == PROP_SNP_GET_EXT_REPORT && x->certs_len) {
        assert_true(x->certs_len >= driver.certs_size && x->certs % 4096 == 0);
        memcpy((void *)(uintptr_t)x->certs, driver.certs, driver.certs_size);
    }
    return 0;
}

static const struct prop_tee_calls calls = { .open = drv_open, .close = drv_close, .ioctl = drv_ioctl,
                                             .pause = drv_pause, .read_msr = no_msr,
                                             .cpuid = no_cpuid, .is_configfs = no_configfs };
static const uint8_t plain[PROP_SNP_REPORT] = { 3 };

static void begin(const struct answer *script, size_t n)
{
    memset(&driver, 0, sizeof(driver));
    driver.script = script;
    driver.n = n;
    driver.report = plain;
}
#define SCRIPT(...)                                                                                \
    static const struct answer script_[] = { __VA_ARGS__ };                                        \
    begin(script_, PROP_ARRAY_LEN(script_))

static int get(struct prop_tsm_report *r, struct prop_err *err)
{
    struct prop_tee_machine m = bare;
    uint8_t data[PROP_TSM_INBLOB];
    m.sev_guest = "/dev/sev-guest";
    m.calls = &calls;
    memset(data, 0x5a, sizeof(data));
    return prop_sev_guest_get_report(&m, data, r, err);
}

static void refused(const struct answer *script, size_t n, int code, const char *id, size_t calls_made)
{
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    struct prop_err err = PROP_ERR_INIT;
    begin(script, n);
    int rc = get(&r, &err);
    if (rc != code || strcmp(prop_err_id(&err), id) != 0)
        print_error("%d, %s: %s\n", rc, prop_err_id(&err), err.message);
    assert_int_equal(rc, code);
    assert_string_equal(prop_err_id(&err), id);
    assert_true(err.hint[0] != 0 || code == PROP_E_INPUT);
    assert_int_equal(driver.calls, calls_made);
    assert_int_equal(driver.closed, 1);
    assert_int_equal(r.outblob.len, 0);
    assert_int_equal(r.auxblob.len, 0);
}
#define REFUSES(code, id, calls_made, ...)                                                         \
    do {                                                                                           \
        static const struct answer s_[] = { __VA_ARGS__ };                                         \
        refused(s_, PROP_ARRAY_LEN(s_), code, id, calls_made);                                     \
    } while (0)

static void test_a_host_without_certificates(void **state)
{
    (void)state;
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    SCRIPT({ .number = 0 });
    assert_int_equal(get(&r, NULL), 0);
    assert_string_equal(r.provider, "sev_guest");
    assert_int_equal(r.outblob.len, PROP_SNP_REPORT);
    assert_int_equal(r.outblob.data[0x50], 0x5a);
    assert_int_equal(r.auxblob.len, 0);
    assert_int_equal(driver.calls, 1);
    assert_int_equal(driver.codes[0], PROP_SNP_GET_EXT_REPORT);
    assert_int_equal(driver.asked_len[0], 0);
    assert_int_equal(driver.closed, 1);
}

/* The real report and the real table: the length is asked for, then both come, and make the evidence. */
static void test_certificates_in_two_steps(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "snp-report-v3-genoa.json");
    struct prop_buf raw = bytes_of(f, "report_base64"), table = bytes_of(f, "cert_table_base64");
    json_t *evidence = NULL;
    SCRIPT({ .number = EIO, .vmm = PROP_SNP_VMM_LENGTH, .certs_len = 4096 }, { .number = 0 });
    driver.report = raw.data;
    driver.certs = table.data;
    driver.certs_size = table.len;
    struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(driver.calls, 2);
    assert_int_equal(driver.asked_len[0], 0);
    assert_int_equal(driver.asked_len[1], 4096);
    assert_int_equal(r.auxblob.len, 4096);
    assert_int_equal(prop_snp_evidence(r.outblob.data, r.outblob.len, r.auxblob.data, r.auxblob.len,
                                       &evidence, NULL), 0);
    assert_true(json_equal(json_object_get(evidence, "cert_chain"),
                           json_object_get(json_object_get(f, "evidence"), "cert_chain")));
    prop_tsm_report_release(&r);
    json_decref(evidence);
    prop_buf_release(&raw);
    prop_buf_release(&table);
    json_decref(f);
}

/* Where the certificates cannot be had the report alone comes: the server can fetch them itself. */
static void test_certificates_that_cannot_be_had(void **state)
{
    (void)state;
    static const struct answer length = { .number = EIO, .vmm = PROP_SNP_VMM_LENGTH };
    static const uint32_t lengths[] = { 0, 100, 4097, 5 * 4096, UINT32_MAX };
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(lengths); i++) {
        struct answer script[2] = { length, { .number = 0 } };
        script[0].certs_len = lengths[i];
        begin(script, 2);
        assert_int_equal(get(&r, NULL), 0);
        assert_int_equal(driver.calls, 2);
        assert_int_equal(driver.codes[1], PROP_SNP_GET_REPORT);
        assert_int_equal(r.outblob.len, PROP_SNP_REPORT);
        assert_int_equal(r.auxblob.len, 0);
    }
    /* The host changed them in between. */
    SCRIPT({ .number = EIO, .vmm = PROP_SNP_VMM_LENGTH, .certs_len = 4096 },
           { .number = EIO, .vmm = PROP_SNP_VMM_LENGTH, .certs_len = 8192 }, { .number = 0 });
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(driver.calls, 3);
    assert_int_equal(driver.codes[2], PROP_SNP_GET_REPORT);
    assert_int_equal(r.auxblob.len, 0);
}

static void test_a_busy_host(void **state)
{
    (void)state;
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    SCRIPT({ .number = EIO, .vmm = PROP_SNP_VMM_BUSY }, { .number = EAGAIN }, { .number = EINTR },
           { .number = 0 });
    assert_int_equal(get(&r, NULL), 0);
    assert_int_equal(driver.calls, 4);
    assert_int_equal(driver.paused, 3);
    REFUSES(PROP_E_IO, "sev-guest-busy", 4, { .number = EIO, .vmm = PROP_SNP_VMM_BUSY });
    assert_int_equal(driver.paused, 3);
}

/* Nothing is asked again after an unclear failure: the driver throws its key away then. */
static void test_failures(void **state)
{
    (void)state;
    REFUSES(PROP_E_IO, "vmpck-lost", 1, { .number = ENOTTY });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .number = EIO, .fw = 0x16 });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .number = EIO, .fw = 0x1d });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .number = EIO, .fw = 0x4711 });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .number = EIO, .vmm = 9 });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1,
            { .number = EIO, .fw = UINT32_MAX, .vmm = UINT32_MAX });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .number = EINVAL });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .number = ETIMEDOUT });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .number = EFAULT });
    REFUSES(PROP_E_IO, "sev-guest-refused", 2,
            { .number = EIO, .vmm = PROP_SNP_VMM_LENGTH, .certs_len = 4096 },
            { .number = EIO, .fw = 0x22 });
    /* The call worked, the firmware's answer says no. */
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .status = 0x16 });
    REFUSES(PROP_E_IO, "sev-guest-refused", 1, { .status = 0x27 });
    REFUSES(PROP_E_INPUT, "sev-guest-answer", 1, { .status = 0x99 });
    REFUSES(PROP_E_INPUT, "sev-guest-answer", 1, { .size = 1183 });
    REFUSES(PROP_E_INPUT, "sev-guest-answer", 1, { .size = 4000 });
}

static void test_no_device(void **state)
{
    (void)state;
    static const int numbers[] = { ENOENT, EACCES, ENXIO };
    for (size_t i = 0; i < PROP_ARRAY_LEN(numbers); i++) {
        prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
        struct prop_err err = PROP_ERR_INIT;
        SCRIPT({ .number = 0 });
        driver.open_errno = numbers[i];
        assert_int_equal(get(&r, &err), PROP_E_UNSUPPORTED);
        assert_string_equal(prop_err_id(&err), "no-sev-guest");
        assert_non_null(strstr(err.hint, numbers[i] == EACCES ? "root" : "load sev-guest"));
        assert_int_equal(driver.calls, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_host_without_certificates),
        cmocka_unit_test(test_certificates_in_two_steps),
        cmocka_unit_test(test_certificates_that_cannot_be_had),
        cmocka_unit_test(test_a_busy_host),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_no_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
