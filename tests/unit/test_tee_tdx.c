/* TDX quotes and event logs, against a real quote and logs of real machines. */
#include "test_tee.h"

#include "tee/eventlog.h"

static void test_evidence_as_recorded(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "tdx-quote-v4.json");
    json_t *got = NULL;
    struct prop_buf q = bytes_of(f, "quote_base64");
    assert_int_equal(prop_tdx_evidence(q.data, q.len, NULL, 0, &got, NULL), 0);
    assert_true(json_equal(got, json_object_get(f, "evidence")));
    json_decref(got);
    got = NULL;
    REFUSED(prop_tdx_evidence(q.data, 600, NULL, 0, &got, err), PROP_E_INPUT, "tdx-quote");
    q.data[0] = 3;
    REFUSED(prop_tdx_evidence(q.data, q.len, NULL, 0, &got, err), PROP_E_INPUT, "tdx-quote");
    assert_null(got);
    prop_buf_release(&q);
    json_decref(f);
}

/* Version 5 says what body follows: TDX 1.0 and 1.5 are known, and their sizes. */
static void test_quotes_of_version_5(void **state)
{
    (void)state;
    uint8_t q[54 + 648] = { 5, 0, 2, 0, 0x81 };
    struct prop_tdx_fields f;
    static const struct {
        uint8_t type;
        uint32_t size;
        size_t len;
        bool good;
    } cases[] = {
        { 2, 584, 54 + 584, true },  { 3, 648, 54 + 648, true },  { 2, 584, 54 + 583, false },
        { 3, 648, 54 + 647, false }, { 2, 648, 54 + 648, false }, { 3, 584, 54 + 648, false },
        { 1, 384, 54 + 648, false }, { 4, 584, 54 + 648, false },
    };
    q[54 + 120] = 1;
    q[54 + 136] = 0xab;
    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        q[48] = cases[i].type;
        q[50] = (uint8_t)cases[i].size;
        q[51] = (uint8_t)(cases[i].size >> 8);
        if (cases[i].good) {
            assert_int_equal(prop_tdx_fields_read(q, cases[i].len, &f, NULL), 0);
            assert_int_equal(f.version, 5);
            assert_int_equal(f.td_attributes, 1);
            assert_int_equal(f.mr_td[0], 0xab);
        } else {
            REFUSED(prop_tdx_fields_read(q, cases[i].len, &f, err), PROP_E_INPUT, "tdx-quote");
        }
    }
}

static void rtmr_hex(uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN], const json_t *c)
{
    for (int i = 0; i < PROP_RTMRS; i++) {
        char name[16], hex[2 * PROP_RTMR_LEN + 1];
        (void)snprintf(name, sizeof(name), "rtmr%d", i);
        prop_hex_encode(rtmr[i], PROP_RTMR_LEN, hex);
        if (json_object_get(c, name))
            assert_string_equal(hex, text_of(c, name));
    }
}

/* The log goes along when it replays to the quote's registers, and stays away when it does not. */
static void check_log(const json_t *c)
{
    struct prop_buf log = bytes_of(c, "log_base64");
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    uint8_t quote[48 + 584] = { 4, 0, 2, 0, 0x81 };
    size_t used = 0;
    json_t *e = NULL;
    assert_int_equal(prop_eventlog_replay(log.data, log.len, &used, rtmr, NULL), 0);
    assert_int_equal(used, json_integer_value(json_object_get(c, "log_len")));
    rtmr_hex(rtmr, c);
    memcpy(quote + 376, rtmr, sizeof(rtmr));
    assert_int_equal(prop_buf_add(&log, (const uint8_t[64]){ 0 }, 64, NULL), 0);
    struct prop_buf joined = PROP_BUF_INIT(1u << 20);
    assert_int_equal(prop_eventlog_join(log.data, log.len, NULL, 0, &joined, NULL), 0);
    assert_int_equal(joined.len, used);
    assert_int_equal(prop_tdx_evidence(quote, sizeof(quote), joined.data, joined.len, &e, NULL), 0);
    assert_string_equal(text_of(e, "cc_eventlog"), text_of(c, "evidence_cc_eventlog"));
    json_decref(e);
    quote[376] ^= 1;
    assert_int_equal(prop_tdx_evidence(quote, sizeof(quote), joined.data, joined.len, &e, NULL), 0);
    prop_buf_release(&joined);
    assert_true(json_is_null(json_object_get(e, "cc_eventlog")));
    json_decref(e);
    struct prop_event *events = NULL;
    size_t n = 0, i;
    json_t *want;
    assert_int_equal(prop_eventlog_parse(log.data, log.len, &events, &n, &used, NULL), 0);
    assert_int_equal(n, json_array_size(json_object_get(c, "events")));
    json_array_foreach(json_object_get(c, "events"), i, want) {
        char hex[2 * PROP_RTMR_LEN + 1];
        prop_hex_encode(events[i].sha384, PROP_RTMR_LEN, hex);
        assert_true(events[i].has_sha384);
        assert_string_equal(hex, text_of(want, "sha384"));
        assert_int_equal(events[i].reg, json_integer_value(json_object_get(want, "register_index")));
        assert_int_equal(events[i].type, strtoul(text_of(want, "event_type"), NULL, 16));
        assert_int_equal(events[i].len, json_integer_value(json_object_get(want, "event_len")));
    }
    prop_free(events);
    prop_buf_release(&log);
}

static void test_event_logs(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "eventlog.json");
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(f, "captured"), i, c)
        check_log(c);
    assert_true(i >= 2);
    json_decref(f);
}

static void test_event_logs_cut_short(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "eventlog.json");
    struct prop_buf log = bytes_of(json_array_get(json_object_get(f, "captured"), 0),
                                   "log_base64");
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    size_t refused = 0;
    for (size_t n = 0; n < log.len; n += 7) {
        size_t used = 0;
        /* A copy of its own size, so that a read over the end is seen. */
        uint8_t *cut = prop_alloc(n);
        assert_non_null(cut);
        memcpy(cut, log.data, n);
        refused += prop_eventlog_replay(cut, n, &used, rtmr, NULL) < 0;
        prop_free(cut);
    }
    assert_true(refused > log.len / 7 - 60);
    prop_buf_release(&log);
    json_decref(f);
}

/* A flipped bit in a log is noticed: it does not parse, or it replays to something else, or it stands in
 * data and types that the registers do not hold. */
static void test_event_log_flips(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "eventlog.json");
    const json_t *c = json_array_get(json_object_get(f, "captured"), 0);
    struct prop_buf log = bytes_of(c, "log_base64");
    uint8_t want[PROP_RTMRS][PROP_RTMR_LEN], got[PROP_RTMRS][PROP_RTMR_LEN];
    size_t used = 0, noticed = 0;
    assert_int_equal(prop_eventlog_replay(log.data, log.len, &used, want, NULL), 0);
    for (size_t i = 0; i < used; i++) {
        uint8_t *copy = prop_alloc(used);
        size_t n = 0;
        memcpy(copy, log.data, used);
        copy[i] ^= 0x80;
        noticed += prop_eventlog_replay(copy, used, &n, got, NULL) < 0 || n != used ||
                   memcmp(got, want, sizeof(got)) != 0;
        prop_free(copy);
    }
    assert_true(noticed >= 12 * (PROP_RTMR_LEN + 4)); /* digests and register numbers at the least */
    prop_buf_release(&log);
    json_decref(f);
}

static void check_aael(const json_t *c, struct prop_buf *all, uint8_t rtmr3[PROP_RTMR_LEN])
{
    struct prop_buf entry = PROP_BUF_INIT(4096);
    uint8_t digest[PROP_RTMR_LEN];
    char hex[8193];
    assert_int_equal(prop_eventlog_runtime_entry(text_of(c, "domain"), text_of(c, "operation"),
                                                 text_of(c, "content"), &entry, digest, NULL), 0);
    prop_hex_encode(digest, sizeof(digest), hex);
    assert_string_equal(hex, text_of(c, "sha384"));
    prop_hex_encode(entry.data, entry.len, hex);
    assert_string_equal(hex, text_of(c, "entry_hex"));
    assert_int_equal(prop_buf_add(all, entry.data, entry.len, NULL), 0);
    assert_int_equal(prop_rtmr_extend(rtmr3, digest, NULL), 0);
    prop_buf_release(&entry);
}

/* Runtime events: entries as recorded, alone behind a header of ours, and behind a firmware's log. */
static void test_runtime_events(void **state)
{
    (void)state;
    json_t *f = shared_json(MEASURE, "eventlog.json");
    struct prop_buf aael = PROP_BUF_INIT(1u << 16), joined = PROP_BUF_INIT(1u << 20);
    uint8_t rtmr3[PROP_RTMR_LEN] = { 0 }, rtmr[PROP_RTMRS][PROP_RTMR_LEN];
    char hex[2 * PROP_RTMR_LEN + 1], header[2 * 69 + 1];
    size_t i, used = 0;
    json_t *c;
    json_array_foreach(json_object_get(f, "aael"), i, c)
        check_aael(c, &aael, rtmr3);
    prop_hex_encode(rtmr3, sizeof(rtmr3), hex);
    assert_string_equal(hex, text_of(f, "aael_rtmr3_after_all"));
    assert_int_equal(prop_eventlog_join(NULL, 0, aael.data, aael.len, &joined, NULL), 0);
    prop_hex_encode(joined.data, 69, header);
    assert_string_equal(header, text_of(f, "no_ccel_header_hex"));
    assert_int_equal(prop_eventlog_replay(joined.data, joined.len, &used, rtmr, NULL), 0);
    assert_int_equal(used, joined.len);
    assert_memory_equal(rtmr[3], rtmr3, sizeof(rtmr3));
    prop_buf_clear(&joined);
    struct prop_buf ccel = bytes_of(json_array_get(json_object_get(f, "captured"), 0), "log_base64");
    assert_int_equal(prop_buf_add(&ccel, (const uint8_t[16]){ 0 }, 16, NULL), 0);
    assert_int_equal(prop_eventlog_join(ccel.data, ccel.len, aael.data, aael.len, &joined, NULL), 0);
    assert_int_equal(joined.len, ccel.len - 16 + aael.len);
    assert_int_equal(prop_eventlog_replay(joined.data, joined.len, &used, rtmr, NULL), 0);
    assert_memory_equal(rtmr[3], rtmr3, sizeof(rtmr3));
    prop_buf_release(&joined);
    prop_buf_release(&ccel);
    prop_buf_release(&aael);
    json_decref(f);
}

static void test_events_that_are_no_lines(void **state)
{
    (void)state;
    struct prop_buf out = PROP_BUF_INIT(4096);
    static const char *const bad[][3] = {
        { "two words", "op", "c" }, { "d", "o p", "c" }, { "d", "op", "a\nb" }, { "", "op", "c" },
        { "d", "", "c" }, { "d\n", "op", "c" },
    };
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++)
        REFUSED(prop_eventlog_runtime_entry(bad[i][0], bad[i][1], bad[i][2], &out, NULL, err),
                PROP_E_INPUT, "event-text");
    assert_int_equal(out.len, 0);
    assert_int_equal(prop_eventlog_join(NULL, 0, NULL, 0, &out, NULL), 0);
    assert_int_equal(out.len, 0);
    REFUSED(prop_eventlog_join((const uint8_t *)"short", 5, NULL, 0, &out, err), PROP_E_INPUT,
            "event-log");
    prop_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evidence_as_recorded),
        cmocka_unit_test(test_quotes_of_version_5),
        cmocka_unit_test(test_event_logs),
        cmocka_unit_test(test_event_logs_cut_short),
        cmocka_unit_test(test_event_log_flips),
        cmocka_unit_test(test_runtime_events),
        cmocka_unit_test(test_events_that_are_no_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
