/* What machine this is: each sign alone, and in the mixtures that real machines show. */
#include "test_tee.h"

#include "tee/detect.h"
#include "tee/tdx_guest.h"

#include <sys/stat.h>

/* The machine of one test: files in a folder, answers of processor and drivers. */
static struct {
    char root[64];
    bool tdx_leaf, configfs;
    unsigned hyperv; /* isolation type under a paravisor */
    int msr_errno;
    uint64_t msr;
    int open_errno, ioctl_errno;
    uint8_t report[PROP_TDX_REPORT];
} box;

static uint32_t four(const char *s)
{
    return (uint32_t)(uint8_t)s[0] | (uint32_t)(uint8_t)s[1] << 8 | (uint32_t)(uint8_t)s[2] << 16 |
           (uint32_t)(uint8_t)s[3] << 24;
}

static bool box_cpuid(uint32_t leaf, uint32_t r[4])
{
    memset(r, 0, 4 * sizeof(*r));
    if (leaf == 0) {
        r[0] = 0x21;
    } else if (leaf == 0x21 && box.tdx_leaf) {
        r[1] = four("Inte"), r[3] = four("lTDX"), r[2] = four("    ");
    } else if (leaf == 0x40000000 && box.hyperv) {
        r[0] = 0x4000000c;
        r[1] = four("Micr"), r[2] = four("osof"), r[3] = four("t Hv");
    } else if (leaf == 0x4000000c) {
        r[0] = box.hyperv != 0;
        r[1] = box.hyperv;
    }
    return true;
}

static int box_msr(const char *path, uint32_t msr, uint64_t *ret)
{
    assert_string_equal(path, "msr");
    assert_int_equal(msr, 0xc0010131);
    errno = box.msr_errno;
    *ret = box.msr;
    return box.msr_errno ? -1 : 0;
}

static bool box_configfs(const char *path)
{
    (void)path;
    return box.configfs;
}

static int box_open(const char *path)
{
    (void)path;
    errno = box.open_errno;
    return box.open_errno ? -1 : 5;
}

static int box_close(int fd)
{
    assert_int_equal(fd, 5);
    return 0;
}

static int box_ioctl(int fd, unsigned long code, void *arg)
{
    struct prop_tdx_report_request *q = arg;
    assert_int_equal(fd, 5);
    assert_int_equal(code, PROP_TDX_GET_REPORT0);
    errno = box.ioctl_errno;
    memcpy(q->report, box.report, sizeof(q->report));
    memcpy(q->report + 128, q->report_data, 64);
    return box.ioctl_errno ? -1 : 0;
}

static const struct prop_tee_calls calls = { .open = box_open, .close = box_close, .ioctl = box_ioctl,
                                             .cpuid = box_cpuid, .read_msr = box_msr,
                                             .is_configfs = box_configfs };

static int setup(void **state)
{
    (void)state;
    memset(&box, 0, sizeof(box));
    box.msr_errno = ENOENT;
    (void)snprintf(box.root, sizeof(box.root), "/tmp/prop-detect-XXXXXX");
    return mkdtemp(box.root) ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = { "sev-guest", "tdx_guest", "platform", "cpuinfo" };
    char path[128];
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", box.root, names[i]);
        (void)remove(path);
    }
    return rmdir(box.root);
}

static void put(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", box.root, name);
    assert_int_equal(prop_file_write(path, text, strlen(text), 0600, true, NULL), 0);
}

static struct prop_tee_found look(json_t **signs, enum prop_tee *chosen, struct prop_err *err)
{
    char paths[4][128];
    static const char *const names[] = { "sev-guest", "tdx_guest", "platform", "cpuinfo" };
    struct prop_tee_machine m = bare;
    struct prop_tee_found f;
    for (size_t i = 0; i < 4; i++)
        (void)snprintf(paths[i], sizeof(paths[i]), "%s/%s", box.root, names[i]);
    m.sev_guest = paths[0];
    m.tdx_guest = paths[1];
    m.sev_platform = paths[2];
    m.cpuinfo = paths[3];
    m.msr = "msr";
    m.calls = &calls;
    assert_int_equal(prop_tee_detect(&m, &f, signs, NULL), 0);
    *chosen = PROP_TEE_NONE;
    (void)prop_tee_choose_on(&m, "auto", chosen, err);
    return f;
}

/* What is found, what the processor says, and the error of --tee auto. */
static void expect(enum prop_tee tee, const char *active, const char *id)
{
    struct prop_err err = PROP_ERR_INIT;
    enum prop_tee chosen;
    json_t *signs = NULL;
    struct prop_tee_found f = look(&signs, &chosen, &err);
    assert_int_equal(f.tee, tee);
    assert_int_equal(chosen, tee);
    if (active)
        assert_string_equal(f.active, active);
    else
        assert_null(f.active);
    assert_int_equal(f.test != NULL, tee != PROP_TEE_NONE);
    assert_int_equal(f.advice != NULL, tee == PROP_TEE_NONE && active);
    if (id) {
        assert_string_equal(prop_err_id(&err), id);
        assert_true(err.hint[0] != 0);
    }
    assert_true(json_array_size(signs) >= 8);
    json_decref(signs);
}

static const char *found_by(const char *test)
{
    static char text[64];
    enum prop_tee chosen;
    json_t *signs = NULL, *s;
    size_t i;
    text[0] = 0;
    (void)look(&signs, &chosen, NULL);
    json_array_foreach(signs, i, s) {
        const char *found = json_string_value(json_object_get(s, "found"));
        if (strstr(text_of(s, "test"), test) && found)
            (void)snprintf(text, sizeof(text), "%s", found);
    }
    json_decref(signs);
    return text;
}

static void test_nothing(void **state)
{
    (void)state;
    expect(PROP_TEE_NONE, NULL, "no-tee");
    put("cpuinfo", "flags\t\t: fpu sev sev_es sev_snp tdx_host_platform\n"); /* a host's */
    expect(PROP_TEE_NONE, NULL, "no-tee");
    box.msr_errno = EIO; /* a processor without that register */
    expect(PROP_TEE_NONE, NULL, "no-tee");
    assert_string_equal(found_by("MSR"), "");
    box.msr_errno = EACCES;
    assert_non_null(strstr(found_by("MSR"), "root"));
}

static void test_snp(void **state)
{
    (void)state;
    box.msr_errno = 0;
    box.msr = 7;
    expect(PROP_TEE_NONE, "snp", "tee-not-ready"); /* load sev-guest */
    assert_string_equal(found_by("MSR"), "SEV, SEV-ES, SNP");
    put("platform", "");
    expect(PROP_TEE_NONE, "snp", "tee-not-ready");
    box.msr_errno = ENOENT;
    expect(PROP_TEE_NONE, "snp", "tee-not-ready");
    put("sev-guest", "");
    expect(PROP_TEE_SNP, "snp", NULL);
}

static void test_tdx(void **state)
{
    (void)state;
    box.tdx_leaf = true;
    expect(PROP_TEE_NONE, "tdx", "tee-not-ready");
    assert_string_equal(found_by("CPUID 0x21"), "IntelTDX");
    box.tdx_leaf = false;
    put("cpuinfo", "processor\t: 0\nflags\t\t: fpu vme tdx_guest hypervisor\n");
    expect(PROP_TEE_NONE, "tdx", "tee-not-ready");
    put("tdx_guest", "");
    expect(PROP_TEE_TDX, "tdx", NULL);
    put("sev-guest", ""); /* both cannot be; tdx goes first, as in the agents */
    expect(PROP_TEE_TDX, "tdx", NULL);
}

static void test_machines_that_cannot_attest(void **state)
{
    (void)state;
    box.msr_errno = 0;
    box.msr = 1;
    expect(PROP_TEE_NONE, "sev", "tee-unsupported");
    box.msr = 3;
    expect(PROP_TEE_NONE, "sev-es", "tee-unsupported");
    box.msr = 0;
    box.hyperv = 2;
    expect(PROP_TEE_NONE, "az-snp-vtpm", "tee-unsupported");
    put("sev-guest", ""); /* Azure's devices do not make its evidence another */
    expect(PROP_TEE_NONE, "az-snp-vtpm", "tee-unsupported");
    box.hyperv = 3;
    expect(PROP_TEE_NONE, "az-tdx-vtpm", "tee-unsupported");
    box.hyperv = 1; /* software isolation only: nothing that attests */
    expect(PROP_TEE_SNP, "snp", NULL);
}

static void test_configfs_is_said(void **state)
{
    (void)state;
    assert_string_equal(found_by("/nonexistent"), "");
    box.configfs = true;
    assert_string_equal(found_by("/nonexistent"), "configfs is mounted");
}

/* The registers of a TD report: those of the recorded quote, put where the driver's report has them. */
static void test_registers_of_a_td_report(void **state)
{
    (void)state;
    json_t *v = shared_json(MEASURE, "tdx-quote-v4.json");
    struct prop_buf q = bytes_of(v, "quote_base64");
    struct prop_tdx_fields quote, report;
    struct prop_tee_machine m = bare;
    uint8_t data[64], got[PROP_TDX_REPORT];
    assert_int_equal(prop_tdx_fields_read(q.data, q.len, &quote, NULL), 0);
    memcpy(box.report + 512, q.data + 168, 16);       /* attributes, xfam */
    memcpy(box.report + 528, q.data + 184, 4 * 48);   /* MRTD to MROWNERCONFIG */
    memcpy(box.report + 720, q.data + 376, 4 * 48);   /* RTMRs */
    memset(data, 0x77, sizeof(data));
    m.calls = &calls;
    assert_int_equal(prop_tdx_get_report(&m, data, got, NULL), 0);
    prop_tdx_report_fields(got, &report);
    assert_int_equal(report.td_attributes, quote.td_attributes);
    assert_memory_equal(report.mr_td, quote.mr_td, 48);
    assert_memory_equal(report.mr_config_id, quote.mr_config_id, 48);
    assert_memory_equal(report.rtmr, quote.rtmr, sizeof(quote.rtmr));
    assert_memory_equal(report.xfam, quote.xfam, sizeof(quote.xfam));
    assert_memory_equal(report.report_data, data, sizeof(data));
    box.ioctl_errno = EIO;
    REFUSED(prop_tdx_get_report(&m, data, got, err), PROP_E_IO, "tdx-guest-refused");
    box.open_errno = EACCES;
    REFUSED(prop_tdx_get_report(&m, data, got, err), PROP_E_UNSUPPORTED, "no-tdx-guest");
    box.open_errno = ENOENT;
    REFUSED(prop_tdx_get_report(&m, data, got, err), PROP_E_UNSUPPORTED, "no-tdx-guest");
    prop_buf_release(&q);
    json_decref(v);
}

/* Init-data is what the TD's own report says, whatever quote the host would make. */
static void test_init_data_by_the_td_report(void **state)
{
    (void)state;
    static const char toml[] = "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n\"a\" = \"b\"\n";
    struct prop_initdata pins;
    struct prop_tee_machine m = bare;
    m.calls = &calls;
    assert_int_equal(prop_initdata_read(toml, sizeof(toml) - 1, "init-data", &pins, NULL), 0);
    memset(box.report + 576, 0, 48);
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &pins, err), PROP_E_VERIFY,
            "init-data-mismatch");
    memcpy(box.report + 576, pins.mr_config_id, 48);
    assert_int_equal(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &pins, NULL), 0);
    assert_int_equal(prop_tee_check_init_data_on(&m, PROP_TEE_SAMPLE, &pins, NULL), 0);
    box.report[576 + 47] ^= 1;
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &pins, err), PROP_E_VERIFY,
            "init-data-mismatch");
    box.open_errno = ENOENT;
    REFUSED(prop_tee_check_init_data_on(&m, PROP_TEE_TDX, &pins, err), PROP_E_UNSUPPORTED,
            "no-tdx-guest");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing),
        TEST(test_snp),
        TEST(test_tdx),
        TEST(test_machines_that_cannot_attest),
        TEST(test_configfs_is_said),
        TEST(test_registers_of_a_td_report),
        TEST(test_init_data_by_the_td_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
