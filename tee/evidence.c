/* Choosing a TEE, and evidence from it. Never falls back to sample evidence. */
#include "tee/evidence.h"

#include "tee/aael.h"
#include "tee/check.h"
#include "tee/detect.h"
#include "tee/fields.h"
#include "tee/machine.h"
#include "tee/qgs.h"
#include "tee/sev_guest.h"
#include "tee/snp.h"
#include "tee/tdx.h"
#include "tee/tdx_guest.h"
#include "tee/tsm.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/mem.h"

#include <string.h>
#include <unistd.h>

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

/* --- which one ----------------------------------------------------------------------------------- */

static int none_here(const struct prop_tee_found *f, const char *wish, bool any, struct prop_err *err)
{
    if (f->advice) {
        bool foreign = strcmp(f->active, "snp") != 0 && strcmp(f->active, "tdx") != 0;
        prop_err_set_id(err, PROP_E_UNSUPPORTED, foreign ? "tee-unsupported" : "tee-not-ready",
                        "this machine is a guest of '%s', and cannot attest itself", f->active);
        return prop_err_hint(err, "%s", f->advice);
    }
    if (any)
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tee",
                        "this machine shows no sign of SEV-SNP or TDX");
    else
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tee", "this machine is no '%s' guest", wish);
    return prop_err_hint(err, "run inside a confidential VM; for tests, --tee sample sends "
                              "evidence that proves nothing");
}

int prop_tee_choose_on(const struct prop_tee_machine *m, const char *wish, enum prop_tee *ret,
                       struct prop_err *err)
{
    struct prop_tee_found here;
    if (strcmp(wish, "sample") == 0) {
        *ret = PROP_TEE_SAMPLE;
        return 0;
    }
    bool any = strcmp(wish, "auto") == 0;
    if (!any && strcmp(wish, "snp") != 0 && strcmp(wish, "tdx") != 0) {
        prop_err_set_id(err, PROP_E_USAGE, "bad-tee", "'%s' is no kind of evidence", wish);
        return prop_err_hint(err, "--tee takes auto, sample, snp or tdx");
    }
    int rc = prop_tee_detect(m, &here, NULL, err);
    if (rc < 0)
        return rc;
    if (here.tee == PROP_TEE_NONE || (!any && strcmp(wish, prop_tee_name(here.tee)) != 0))
        return none_here(&here, wish, any, err);
    *ret = here.tee;
    return 0;
}

int prop_tee_choose(const char *wish, enum prop_tee *ret, struct prop_err *err)
{
    struct prop_tee_machine here = prop_tee_machine_here();
    return prop_tee_choose_on(&here, wish, ret, err);
}

/* --- evidence ------------------------------------------------------------------------------------ */

void prop_tee_answer_release(struct prop_tee_answer *a)
{
    json_decref(a->json);
    if (a->fields)
        prop_tee_fields_release(a->fields);
    prop_free(a->fields);
    *a = (struct prop_tee_answer)PROP_TEE_ANSWER_INIT;
}

/* Sample evidence carries the digest as it is: padded to 64 bytes it is refused. */
static int sample(const struct prop_tee_ask *ask, struct prop_tee_answer *a, struct prop_err *err)
{
    prop_auto_free char *b64 =
        prop_b64_encode(PROP_B64_STD, ask->report_data, sizeof(ask->report_data));
    a->json = b64 ? json_pack("{s:s,s:s}", "svn", "1", "report_data", b64) : NULL;
    return a->json ? 0 : prop_err_nomem(err);
}

static int fields_new(struct prop_tee_answer *a, enum prop_tee tee, struct prop_err *err)
{
    a->fields = prop_alloc(sizeof(*a->fields));
    if (!a->fields)
        return prop_err_nomem(err);
    *a->fields = (struct prop_tee_fields)PROP_TEE_FIELDS_INIT;
    a->fields->tee = tee;
    return 0;
}

/* Firmware's log and runtime events as one. One that cannot be read is none: the quote goes alone. */
static bool read_log(const struct prop_tee_machine *m, int aael_fd, struct prop_buf *out)
{
    prop_auto_buf struct prop_buf ccel = PROP_BUF_INIT(PROP_EVENTLOG_MAX);
    prop_auto_buf struct prop_buf aael = PROP_BUF_INIT(PROP_EVENTLOG_MAX);
    if (prop_file_read(m->ccel, &ccel, NULL) < 0)
        prop_buf_clear(&ccel);
    if (aael_fd >= 0 && prop_aael_read(aael_fd, &aael, NULL) < 0)
        prop_buf_clear(&aael);
    bool any = ccel.len || aael.len;
    if (prop_eventlog_join(ccel.data, ccel.len, aael.data, aael.len, out, NULL) < 0)
        prop_buf_clear(out);
    return any;
}

/* configfs-tsm, and on kernels before it the host's quote service over vsock. */
static int tdx_quote(const struct prop_tee_machine *m, const uint8_t data[PROP_TSM_INBLOB],
                     struct prop_tsm_report *r, struct prop_err *err)
{
    struct prop_err tsm = PROP_ERR_INIT, other = PROP_ERR_INIT;
    uint8_t report[PROP_TDX_REPORT];
    int rc = prop_tsm_get_report(m->tsm_root, "tdx_guest", data, r, &tsm);
    if (rc < 0 && strcmp(prop_err_id(&tsm), "no-tsm") == 0 && access(m->tdx_guest, F_OK) == 0) {
        rc = prop_tdx_get_report(m, data, report, &other);
        if (rc == 0)
            rc = prop_qgs_quote(m, report, &r->outblob, &other);
        if (rc == 0 || strcmp(prop_err_id(&other), "no-qgs") != 0)
            tsm = other; /* without a service, what is wrong with configfs says more */
    }
    if (rc < 0 && err)
        *err = tsm;
    return rc < 0 ? (int)tsm.code : 0;
}

static int tdx(const struct prop_tee_machine *m, const struct prop_tee_ask *ask,
               const uint8_t data[PROP_TSM_INBLOB], struct prop_tee_answer *a, struct prop_err *err)
{
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    prop_auto_fd int lock = -1; /* so that no event comes between the quote and its log */
    struct prop_tee_fields *f = a->fields;
    size_t used = 0;
    if (prop_aael_lock(m, &lock, NULL) < 0)
        lock = -1;
    int rc = tdx_quote(m, data, &r, err);
    if (rc < 0)
        return rc;
    f->log.max = 2 * PROP_EVENTLOG_MAX;
    bool log = read_log(m, lock, &f->log);
    rc = prop_tdx_evidence(r.outblob.data, r.outblob.len, f->log.len ? f->log.data : NULL, f->log.len,
                           &a->json, err);
    if (rc == 0)
        rc = prop_tdx_fields_read(r.outblob.data, r.outblob.len, &f->tdx, err);
    if (rc == 0 && f->log.len)
        (void)prop_eventlog_parse(f->log.data, f->log.len, &f->events, &f->n_events, &used, NULL);
    if (rc == 0) {
        f->raw = r.outblob;
        r.outblob = (struct prop_buf)PROP_BUF_INIT(PROP_TSM_BLOB_MAX);
        rc = prop_tee_checks_run(ask, f, a->json, log, &a->checks, err);
    }
    return rc;
}

/* configfs-tsm, and on kernels before it the device. */
static int snp_report(const struct prop_tee_machine *m, const uint8_t data[PROP_TSM_INBLOB],
                      struct prop_tsm_report *r, struct prop_err *err)
{
    struct prop_err tsm = PROP_ERR_INIT;
    int rc = prop_tsm_get_report(m->tsm_root, "sev_guest", data, r, &tsm);
    if (rc < 0 && strcmp(prop_err_id(&tsm), "no-tsm") == 0 && access(m->sev_guest, F_OK) == 0)
        return prop_sev_guest_get_report(m, data, r, err);
    if (rc < 0 && err)
        *err = tsm;
    return rc;
}

static int snp(const struct prop_tee_machine *m, const struct prop_tee_ask *ask,
               const uint8_t data[PROP_TSM_INBLOB], struct prop_tee_answer *a, struct prop_err *err)
{
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    struct prop_tee_fields *f = a->fields;
    int rc = snp_report(m, data, &r, err);
    if (rc == 0)
        rc = prop_snp_evidence(r.outblob.data, r.outblob.len, r.auxblob.data, r.auxblob.len, &a->json,
                               err);
    if (rc == 0)
        rc = prop_snp_fields_read(r.outblob.data, r.outblob.len, &f->snp, err);
    if (rc == 0) {
        f->raw = r.outblob;
        r.outblob = (struct prop_buf)PROP_BUF_INIT(PROP_TSM_BLOB_MAX);
        rc = prop_tee_checks_run(ask, f, a->json, false, &a->checks, err);
    }
    return rc;
}

int prop_tee_evidence_on(const struct prop_tee_machine *m, const struct prop_tee_ask *ask,
                         struct prop_tee_answer *ret, struct prop_err *err)
{
    prop_auto_tee_answer struct prop_tee_answer a = PROP_TEE_ANSWER_INIT;
    uint8_t padded[PROP_TSM_INBLOB] = { 0 };
    int rc = ask->tee == PROP_TEE_NONE
                 ? prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tee", "no TEE was chosen") : 0;
    memcpy(padded, ask->report_data, sizeof(ask->report_data));
    if (rc == 0 && ask->tee != PROP_TEE_SAMPLE)
        rc = fields_new(&a, ask->tee, err);
    if (rc == 0)
        rc = ask->tee == PROP_TEE_SAMPLE ? sample(ask, &a, err)
             : ask->tee == PROP_TEE_SNP  ? snp(m, ask, padded, &a, err)
                                         : tdx(m, ask, padded, &a, err);
    if (rc < 0)
        return rc;
    prop_tee_answer_release(ret);
    *ret = a;
    a = (struct prop_tee_answer)PROP_TEE_ANSWER_INIT;
    return 0;
}

int prop_tee_evidence(const struct prop_tee_ask *ask, struct prop_tee_answer *ret,
                      struct prop_err *err)
{
    struct prop_tee_machine here = prop_tee_machine_here();
    return prop_tee_evidence_on(&here, ask, ret, err);
}

/* --- init-data ----------------------------------------------------------------------------------- */

/* A TD's own registers. A quote would not do: the host makes it, and its signature is the key broker's
 * to check, so that here it could name any document. The TD report comes from the processor's module. */
static int td_registers(const struct prop_tee_machine *m, struct prop_tee_fields *f,
                        struct prop_err *err)
{
    static const uint8_t data[64];
    uint8_t report[PROP_TDX_REPORT];
    int rc = prop_tdx_get_report(m, data, report, err);
    if (rc == 0)
        prop_tdx_report_fields(report, &f->tdx);
    if (rc != PROP_E_UNSUPPORTED || !m->measurements ||
        prop_tdx_read_register(m, "mrconfigid", f->tdx.mr_config_id, NULL) < 0)
        return rc;
    prop_err_clear(err); /* the same register, as sysfs shows it */
    return 0;
}

int prop_tee_check_init_data_on(const struct prop_tee_machine *m, enum prop_tee tee,
                                const struct prop_initdata *init_data, struct prop_err *err)
{
    prop_auto_tee_answer struct prop_tee_answer a = PROP_TEE_ANSWER_INIT;
    /* Of this report only the one field counts, so a debug guest is no matter here. */
    struct prop_tee_ask ask = { .tee = tee, .allow_debug = true, .init_data = init_data };
    int rc = 0;
    if (tee == PROP_TEE_SAMPLE)
        return 0;
    if (tee == PROP_TEE_TDX) {
        rc = fields_new(&a, tee, err);
        if (rc == 0)
            rc = td_registers(m, a.fields, err);
        if (rc == 0)
            rc = prop_tee_checks_run(&ask, a.fields, NULL, false, &a.checks, err);
    } else {
        rc = prop_tee_evidence_on(m, &ask, &a, err);
    }
    return rc < 0 ? rc : prop_tee_checks_verdict(&a.checks, err);
}

int prop_tee_check_init_data(enum prop_tee tee, const struct prop_initdata *init_data,
                             struct prop_err *err)
{
    struct prop_tee_machine here = prop_tee_machine_here();
    return prop_tee_check_init_data_on(&here, tee, init_data, err);
}
