/* Choosing a TEE, and evidence from it. Never falls back to sample evidence. */
#include "tee/evidence.h"

#include "tee/eventlog.h"
#include "tee/machine.h"
#include "tee/snp.h"
#include "tee/tdx.h"
#include "tee/tsm.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/mem.h"

#include <string.h>
#include <unistd.h>

enum { SHA384_LEN = 48 };

const struct prop_tee_machine prop_tee_this_machine = {
    .tsm_root = PROP_TSM_ROOT,
    .sev_guest = "/dev/sev-guest",
    .tdx_guest = "/dev/tdx_guest",
    .ccel = "/sys/firmware/acpi/tables/data/CCEL",
};

const char *prop_tee_name(enum prop_tee tee)
{
    switch (tee) {
    case PROP_TEE_SAMPLE:
        return "sample";
    case PROP_TEE_SNP:
        return "snp";
    case PROP_TEE_TDX:
        return "tdx";
    case PROP_TEE_NONE:
        break;
    }
    return "none";
}

/* Signs in the order that guests are told apart by: the report provider, then the devices. */
static enum prop_tee detect(const struct prop_tee_machine *m)
{
    char provider[32] = { 0 };
    if (prop_tsm_provider(m->tsm_root, provider, NULL) == 0) {
        if (strcmp(provider, "tdx_guest") == 0)
            return PROP_TEE_TDX;
        if (strcmp(provider, "sev_guest") == 0)
            return PROP_TEE_SNP;
    }
    if (access(m->tdx_guest, F_OK) == 0)
        return PROP_TEE_TDX;
    if (access(m->sev_guest, F_OK) == 0)
        return PROP_TEE_SNP;
    return PROP_TEE_NONE;
}

int prop_tee_choose_on(const struct prop_tee_machine *m, const char *wish, enum prop_tee *ret,
                       struct prop_err *err)
{
    if (strcmp(wish, "sample") == 0) {
        *ret = PROP_TEE_SAMPLE;
        return 0;
    }
    bool any = strcmp(wish, "auto") == 0;
    if (!any && strcmp(wish, "snp") != 0 && strcmp(wish, "tdx") != 0) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-tee", "'%s' is no kind of evidence", wish);
        return prop_err_hint(err, "--tee takes auto, sample, snp or tdx");
    }
    enum prop_tee here = detect(m);
    if (here != PROP_TEE_NONE && (any || strcmp(wish, prop_tee_name(here)) == 0)) {
        *ret = here;
        return 0;
    }
    if (any)
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tee",
                        "this machine shows no sign of SEV-SNP or TDX");
    else
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tee", "this machine is no '%s' guest", wish);
    return prop_err_hint(err, "run inside a confidential VM; for tests, --tee sample sends "
                              "evidence that proves nothing");
}

int prop_tee_choose(const char *wish, enum prop_tee *ret, struct prop_err *err)
{
    return prop_tee_choose_on(&prop_tee_this_machine, wish, ret, err);
}

/* Sample evidence carries the digest as it is: padded to 64 bytes it is refused. */
static int sample(const uint8_t *report_data, size_t len, json_t **ret, struct prop_err *err)
{
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, report_data, len);
    json_t *o = b64 ? json_pack("{s:s,s:s}", "svn", "1", "report_data", b64) : NULL;
    if (!o)
        return prop_err_nomem(err);
    *ret = o;
    return 0;
}

static int tdx(const struct prop_tee_machine *m, const uint8_t data[PROP_TSM_INBLOB], json_t **ret,
               struct prop_err *err)
{
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    prop_auto_buf struct prop_buf log = PROP_BUF_INIT(PROP_EVENTLOG_MAX);
    int rc = prop_tsm_get_report(m->tsm_root, "tdx_guest", data, &r, err);
    if (rc < 0)
        return rc;
    /* Without a readable log the quote goes alone, which the server takes. */
    bool have_log = prop_file_read(m->ccel, &log, NULL) == 0;
    return prop_tdx_evidence(r.outblob.data, r.outblob.len, have_log ? log.data : NULL, log.len,
                             data, ret, err);
}

static int snp(const struct prop_tee_machine *m, const uint8_t data[PROP_TSM_INBLOB], json_t **ret,
               struct prop_err *err)
{
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    int rc = prop_tsm_get_report(m->tsm_root, "sev_guest", data, &r, err);
    if (rc < 0)
        return rc;
    return prop_snp_evidence(r.outblob.data, r.outblob.len, r.auxblob.data, r.auxblob.len, data,
                             ret, err);
}

int prop_tee_evidence_on(const struct prop_tee_machine *m, enum prop_tee tee,
                         const uint8_t *report_data, size_t len, json_t **ret,
                         struct prop_err *err)
{
    uint8_t padded[PROP_TSM_INBLOB] = { 0 };
    if (len != SHA384_LEN)
        return prop_err_set(err, PROP_E_BUG, "report data of %zu bytes", len);
    memcpy(padded, report_data, len);
    switch (tee) {
    case PROP_TEE_SAMPLE:
        return sample(report_data, len, ret, err);
    case PROP_TEE_SNP:
        return snp(m, padded, ret, err);
    case PROP_TEE_TDX:
        return tdx(m, padded, ret, err);
    case PROP_TEE_NONE:
        break;
    }
    return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tee", "no TEE was chosen");
}

int prop_tee_evidence(enum prop_tee tee, const uint8_t *report_data, size_t len, json_t **ret,
                      struct prop_err *err)
{
    return prop_tee_evidence_on(&prop_tee_this_machine, tee, report_data, len, ret, err);
}
