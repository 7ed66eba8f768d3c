/* Evidence in every form it is kept in, certificate tables and event logs: what a host hands to a guest. */
#include "tests/fuzz/fuzz.h"

#include "tee/fields.h"
#include "tee/snp.h"

#include <string.h>

const char *const fuzz_words[] = {
    "{\"evidence\":", "{\"tee-evidence\":", "{\"primary_evidence\":", "\"attestation_report\":{",
    "\"version\":3", "\"quote\":\"", "\"cc_eventlog\":\"", "\"cc_eventlog\":null", "\"cert_chain\":null",
    "\"report_data\":[", "\"measurement\":[", "\"current_tcb\":{\"fmc\":null,", "\"signature\":{\"r\":[",
    "\"cpuid_fam_id\":26", "\"svn\":\"1\"", "null", "255,", "-1", "}", "]", NULL
};

static void parse(const char *text, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_tee_fields struct prop_tee_fields f = PROP_TEE_FIELDS_INIT;
    if (!fuzz_ok(prop_tee_fields_parse(text, len, "evidence", &f, &err), &err)) {
        FUZZ_CHECK(!f.raw.data && !f.events);
        return;
    }
    prop_auto_json json_t *summary = prop_tee_fields_json(&f);
    FUZZ_CHECK(summary);
    if (f.tee != PROP_TEE_SNP)
        return;
    uint8_t again[PROP_SNP_REPORT];
    prop_auto_json json_t *report = NULL;
    FUZZ_CHECK(prop_snp_report_json(f.raw.data, f.raw.len, &report, NULL) == 0);
    FUZZ_CHECK(prop_snp_report_raw(report, again, NULL) == 0);
    FUZZ_CHECK(memcmp(again, f.raw.data, sizeof(again)) == 0);
}

static void table(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_json json_t *chain = NULL;
    if (!fuzz_ok(prop_snp_cert_chain(data, len, &chain, &err), &err))
        FUZZ_CHECK(!chain);
}

static void log_of(const uint8_t *data, size_t len)
{
    struct prop_err err = PROP_ERR_INIT;
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    prop_auto_free struct prop_event *events = NULL;
    size_t used = 0, n = 0, same = 0;
    int rc = prop_eventlog_replay(data, len, &used, rtmr, &err);
    int other = prop_eventlog_parse(data, len, &events, &n, &same, NULL);
    FUZZ_CHECK((rc == 0) == (other == 0) && used == same);
    if (fuzz_ok(rc, &err))
        FUZZ_CHECK(used <= len);
    for (size_t i = 0; i < n; i++)
        FUZZ_CHECK(events[i].len == 0 ||
                   (events[i].data >= data && events[i].data + events[i].len <= data + used));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    /* Of its own size, for the sanitizer. */
    prop_auto_free char *copy = fuzz_text(data, len);
    parse(copy, len);
    table((const uint8_t *)copy, len);
    log_of((const uint8_t *)copy, len);
    return 0;
}
