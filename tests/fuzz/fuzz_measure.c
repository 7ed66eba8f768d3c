/* What is measured: the input is a firmware file, and a kernel. */
#include "tests/fuzz/fuzz.h"

#include "tee/pe.h"
#include "tee/rtmr.h"
#include "tee/sev_launch.h"
#include "tee/snp_launch.h"
#include "tee/td_hob.h"
#include "tee/tdvf.h"

const char *const fuzz_words[] = {
    "ASEV", "TDVF", "MZ", "HdrS", "\xff\xff", "\x01", "\x10", "\x80", "PE", "\x0b\x02", NULL
};

/* One call after the other with the same error object. */
static int good(int rc, struct prop_err *err)
{
    int ok = fuzz_ok(rc, err);
    prop_err_clear(err);
    return ok;
}

static void sev(const struct prop_ovmf *fw, struct prop_err *err)
{
    const struct prop_kernel_hashes hashes = { { 1 }, { 2 }, { 3 } };
    struct prop_sev_metadata m;
    struct prop_digest d;
    uint8_t ld[PROP_LAUNCH_DIGEST] = { 0 };
    if (!good(prop_ovmf_sev(fw, &m, err), err))
        return;
    FUZZ_CHECK(m.n > 0 && m.n <= PROP_OVMF_SECTIONS_MAX);
    uint64_t pages = 0;
    for (size_t i = 0; i < m.n; i++)
        pages += m.section[i].size / PROP_PAGE;
    if (pages < 4096) /* more takes long and says nothing new */
        (void)good(prop_snp_launch_sections(fw, &m, PROP_VMM_QEMU, &hashes, ld, err), err);
    (void)good(prop_sev_es_launch(fw, &hashes, 2, 0x800f12, &d, err), err);
}

static void tdx(const struct prop_ovmf *fw, struct prop_err *err)
{
    prop_auto_buf struct prop_buf hob = PROP_BUF_INIT(PROP_TD_HOB_MAX);
    struct prop_tdvf t;
    uint8_t mrtd[PROP_MRTD];
    if (!good(prop_tdvf_parse(fw, &t, err), err))
        return;
    uint64_t pages = 0;
    for (size_t i = 0; i < t.n; i++)
        pages += t.section[i].mem_size / PROP_PAGE;
    if (pages < 4096)
        FUZZ_CHECK(prop_mrtd(fw, &t, PROP_MRTD_PAGES, mrtd, err) == 0);
    (void)good(prop_td_hob(&t, UINT64_C(3) << 30, &hob, err), err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_free char *copy = fuzz_text(data, len);
    const struct prop_linux_boot boot = { UINT64_C(2) << 30, true, 5000, "quiet" };
    struct prop_source kernel = prop_source_of(copy, len, "kernel");
    struct prop_rtmr_profile p = { .patched = len % 2 };
    struct prop_digest d;
    struct prop_ovmf fw;
    char release[64];
    bool measures;
    if (good(prop_ovmf_parse((const uint8_t *)copy, len, "firmware", &fw, &err), &err)) {
        sev(&fw, &err);
        tdx(&fw, &err);
    }
    FUZZ_CHECK(prop_linux_release(&kernel, release, &err) == 0);
    FUZZ_CHECK(prop_linux_measures(&kernel, release, &measures, &err) == 0);
    (void)good(prop_rtmr_kernel(&kernel, &boot, &p, &d, &err), &err);
    return 0;
}
