/* Signs of a TEE, in the order in which they count: report provider, devices, processor. */
#include "tee/detect.h"

#include "tee/tsm.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* SEV_STATUS (AMD64 APM volume 2, 15.34.10); Hyper-V's isolation leaf (its TLFS, 2.4.10). */
#define MSR_SEV_STATUS 0xc0010131u
enum { BIT_SEV = 0, BIT_SEV_ES = 1, BIT_SNP = 2, LEAF_TDX = 0x21, LEAF_HYPERVISOR = 0x40000000,
       LEAF_HV_ISOLATION = 0x4000000c, HV_PARAVISOR = 1, HV_ISOLATION_SNP = 2, HV_ISOLATION_TDX = 3,
       CPUINFO_MAX = 4 << 20 };

struct look {
    const struct prop_tee_machine *m;
    json_t *signs;         /* NULL = not wanted */
    bool failed;           /* memory */
    char provider[32];
    bool configfs, sev_device, tdx_device, sev_platform, cpu_tdx;
    uint64_t sev_status;   /* 0 when it cannot be read */
    unsigned hv_isolation; /* 0 = no paravisor of Hyper-V */
};

/* found NULL: looked for, and not there. */
static void sign(struct look *l, const char *test, const char *found)
{
    if (l->signs &&
        json_array_append_new(l->signs, json_pack("{s:s,s:s?}", "test", test, "found", found)) < 0)
        l->failed = true;
}

static bool there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void look_at_tsm(struct look *l)
{
    struct prop_err err = PROP_ERR_INIT;
    l->configfs = prop_tee_calls_of(l->m)->is_configfs(l->m->configfs);
    sign(l, l->m->configfs, l->configfs ? "configfs is mounted" : NULL);
    if (prop_tsm_provider(l->m->tsm_root, l->provider, &err) < 0)
        l->provider[0] = 0;
    /* Only root may ask; the folder tells whether there is something to be asked. */
    bool denied = err.sys_errno == EACCES || err.sys_errno == EPERM;
    sign(l, l->m->tsm_root, l->provider[0] ? l->provider : denied ? "only root may ask" : NULL);
}

static void look_at_devices(struct look *l)
{
    const struct prop_tee_machine *m = l->m;
    l->sev_device = there(m->sev_guest);
    l->tdx_device = there(m->tdx_guest);
    l->sev_platform = m->sev_platform && there(m->sev_platform);
    sign(l, m->tdx_guest, l->tdx_device ? "device" : NULL);
    sign(l, m->sev_guest, l->sev_device ? "device" : NULL);
    if (m->sev_platform)
        sign(l, m->sev_platform, l->sev_platform ? "platform device" : NULL);
    if (m->measurements)
        sign(l, m->measurements, there(m->measurements) ? "registers" : NULL);
    sign(l, m->ccel, there(m->ccel) ? "event log" : NULL);
}

/* Four registers of CPUID as the text they spell. */
static void spell(const uint32_t r[4], const int order[3], char out[13])
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++)
            out[4 * i + j] = (char)(r[order[i]] >> 8 * j & 0xff);
    out[12] = 0;
}

static void look_at_cpuid(struct look *l)
{
    enum { EAX, EBX, ECX, EDX };
    const struct prop_tee_calls *calls = prop_tee_calls_of(l->m);
    uint32_t max[4] = { 0 }, r[4] = { 0 };
    char text[13] = "";
    if (calls->cpuid(0, max) && max[EAX] >= LEAF_TDX && calls->cpuid(LEAF_TDX, r))
        spell(r, (const int[]){ EBX, EDX, ECX }, text);
    l->cpu_tdx = strcmp(text, "IntelTDX    ") == 0;
    sign(l, "CPUID 0x21", l->cpu_tdx ? "IntelTDX" : NULL);
    text[0] = 0;
    if (calls->cpuid(LEAF_HYPERVISOR, r))
        spell(r, (const int[]){ EBX, ECX, EDX }, text);
    if (strcmp(text, "Microsoft Hv") == 0 && r[EAX] >= LEAF_HV_ISOLATION &&
        calls->cpuid(LEAF_HV_ISOLATION, r) && (r[EAX] & HV_PARAVISOR))
        l->hv_isolation = r[EBX] & 0xf;
    sign(l, "CPUID 0x4000000c", l->hv_isolation == HV_ISOLATION_SNP   ? "Azure paravisor over SNP"
                                : l->hv_isolation == HV_ISOLATION_TDX ? "Azure paravisor over TDX"
                                                                      : NULL);
}

static void look_at_cpuinfo(struct look *l)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(CPUINFO_MAX);
    if (!l->m->cpuinfo)
        return;
    bool flag = prop_file_read(l->m->cpuinfo, &text, NULL) == 0 &&
                strstr(prop_buf_str(&text), " tdx_guest");
    l->cpu_tdx = l->cpu_tdx || flag;
    sign(l, l->m->cpuinfo, flag ? "tdx_guest" : NULL);
}

static void look_at_msr(struct look *l)
{
    static const char *const said[] = { NULL, "SEV", "SEV-ES", "SEV, SEV-ES", "SNP", "SEV, SNP",
                                        "SEV-ES, SNP", "SEV, SEV-ES, SNP" };
    uint64_t v = 0;
    if (!l->m->msr)
        return;
    if (prop_tee_calls_of(l->m)->read_msr(l->m->msr, MSR_SEV_STATUS, &v) == 0) {
        l->sev_status = v;
        sign(l, "MSR 0xc0010131", said[v & 7]);
    } else { /* EIO: a processor without that register */
        sign(l, "MSR 0xc0010131", errno == EIO ? NULL : "cannot be read: load msr, be root");
    }
}

static bool bit(uint64_t v, int n)
{
    return v >> n & 1;
}

/* What the processor says, whatever drivers are there. */
static void judge_processor(const struct look *l, struct prop_tee_found *f)
{
    if (l->hv_isolation == HV_ISOLATION_SNP || l->hv_isolation == HV_ISOLATION_TDX) {
        f->active = l->hv_isolation == HV_ISOLATION_SNP ? "az-snp-vtpm" : "az-tdx-vtpm";
        f->advice = "Azure's paravisor keeps the report in its vTPM: this evidence is not supported";
    } else if (l->cpu_tdx || l->tdx_device) {
        f->active = "tdx";
        f->advice = "this is a TD, but its report interface is not there: load tdx-guest, and mount "
                    "configfs on " PROP_CONFIGFS " (Linux 6.7)";
    } else if (bit(l->sev_status, BIT_SNP) || l->sev_platform) {
        f->active = "snp";
        f->advice = "SNP is active, but /dev/sev-guest is not there: load sev-guest";
    } else if (bit(l->sev_status, BIT_SEV)) {
        f->active = bit(l->sev_status, BIT_SEV_ES) ? "sev-es" : "sev";
        f->advice = "a guest of plain SEV or SEV-ES cannot attest itself to a key broker: only its "
                    "owner can, through the launch session";
    }
}

static void found(struct prop_tee_found *f, enum prop_tee tee, const char *test)
{
    f->tee = tee;
    f->test = test;
    f->active = prop_tee_name(tee);
    f->advice = NULL;
}

static struct prop_tee_found judge(const struct look *l)
{
    struct prop_tee_found f = { PROP_TEE_NONE, NULL, NULL, NULL };
    judge_processor(l, &f);
    if (f.active && f.active[0] == 'a') /* Azure's are not these, also where their devices show */
        return f;
    if (strcmp(l->provider, "tdx_guest") == 0)
        found(&f, PROP_TEE_TDX, l->m->tsm_root);
    else if (strcmp(l->provider, "sev_guest") == 0)
        found(&f, PROP_TEE_SNP, l->m->tsm_root);
    else if (l->tdx_device) /* which configfs alone cannot tell to others than root */
        found(&f, PROP_TEE_TDX, l->m->tdx_guest);
    else if (l->sev_device)
        found(&f, PROP_TEE_SNP, l->m->sev_guest);
    return f;
}

int prop_tee_detect(const struct prop_tee_machine *m, struct prop_tee_found *ret, json_t **ret_signs,
                    struct prop_err *err)
{
    prop_auto_json json_t *signs = ret_signs ? json_array() : NULL;
    struct look l = { .m = m, .signs = signs };
    if (ret_signs && !signs)
        return prop_err_nomem(err);
    look_at_tsm(&l);
    look_at_devices(&l);
    look_at_cpuid(&l);
    look_at_cpuinfo(&l);
    look_at_msr(&l);
    if (l.failed)
        return prop_err_nomem(err);
    *ret = judge(&l);
    if (ret_signs)
        *ret_signs = PROP_TAKE(signs);
    return 0;
}
