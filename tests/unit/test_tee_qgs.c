/* Quotes over vsock: the host's quote service is a thread behind a socket pair, and says what it is told. */
#include "test_tee.h"

#include "tee/qgs.h"
#include "util/file.h"

#include <pthread.h>
#include <sys/socket.h>

enum { REQUEST = 4 + 16 + 8 + PROP_TDX_REPORT };

static struct {
    int ends[2], ioctl_errno;
    bool nobody, started;
    pthread_t thread;
    uint8_t request[REQUEST];
    const uint8_t *answer;
    size_t len;
} host;

static void *serve(void *unused)
{
    (void)unused;
    size_t got = 0;
    while (got < REQUEST) {
        ssize_t n = read(host.ends[1], host.request + got, REQUEST - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    (void)prop_write_all(host.ends[1], host.answer, host.len);
    (void)close(host.ends[1]);
    return NULL;
}

static int connect_host(unsigned port)
{
    assert_int_equal(port, 4050);
    if (host.nobody) {
        errno = ECONNRESET;
        return -1;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, host.ends), 0);
    assert_int_equal(pthread_create(&host.thread, NULL, serve, NULL), 0);
    host.started = true;
    return host.ends[0];
}

static int drv_open(const char *path)
{
    (void)path;
    return 7;
}

static int drv_close(int fd)
{
    (void)fd;
    return 0;
}

static int drv_ioctl(int fd, unsigned long code, void *arg)
{
    struct prop_tdx_report_request *q = arg;
    (void)fd, (void)code;
    memcpy(q->report + 128, q->report_data, 64);
    errno = host.ioctl_errno;
    return host.ioctl_errno ? -1 : 0;
}

static const struct prop_tee_calls calls = { .open = drv_open, .close = drv_close, .ioctl = drv_ioctl,
                                             .connect_host = connect_host, .read_msr = no_msr,
                                             .cpuid = no_cpuid, .is_configfs = no_configfs };

static int setup(void **state)
{
    (void)state;
    memset(&host, 0, sizeof(host));
    return 0;
}

static int ask(const void *answer, size_t len, struct prop_buf *quote, struct prop_err *err)
{
    static uint8_t report[PROP_TDX_REPORT];
    struct prop_tee_machine m = bare;
    m.calls = &calls;
    memset(report, 0x33, sizeof(report));
    host.answer = answer;
    host.len = len;
    int rc = prop_qgs_quote(&m, report, quote, err);
    if (host.started)
        assert_int_equal(pthread_join(host.thread, NULL), 0);
    host.started = false;
    return rc;
}

static void test_a_quote(void **state)
{
    (void)state;
    static const uint8_t answer[] = {
        0, 0, 0, 16 + 8 + 2 + 3, 1, 0, 1, 0, 1, 0, 0, 0, 29, 0, 0, 0, 0, 0, 0, 0,
        2, 0, 0, 0, 3, 0, 0, 0, 9, 9, 'q', 't', 'e',
    };
    static const uint8_t head[] = { 0, 0, 4, 24, 1, 0, 0, 0, 0, 0, 0, 0, 0x18, 4, 0, 0, 0, 0, 0, 0,
                                    0, 4, 0, 0, 0, 0, 0, 0, 0x33 };
    struct prop_buf quote = PROP_BUF_INIT(1024);
    assert_int_equal(ask(answer, sizeof(answer), &quote, NULL), 0);
    assert_string_equal(prop_buf_str(&quote), "qte");
    assert_memory_equal(host.request, head, sizeof(head));
    assert_int_equal(host.request[REQUEST - 1], 0x33);
    prop_buf_release(&quote);
    /* Each byte that says what the answer is, changed; and the answer cut anywhere. */
    for (size_t i = 0; i < 28; i++) {
        uint8_t copy[sizeof(answer)];
        memcpy(copy, answer, sizeof(copy));
        copy[i] ^= 0x40;
        if (i == 6 || i == 7)
            continue; /* the minor version */
        assert_true(ask(copy, sizeof(copy), &quote, NULL) < 0);
        assert_int_equal(quote.len, 0);
    }
    for (size_t n = 0; n < sizeof(answer); n++)
        REFUSED(ask(answer, n, &quote, err), PROP_E_IO, "qgs-refused");
    prop_buf_release(&quote);
}

static void test_refusals(void **state)
{
    (void)state;
    static const uint8_t refused[] = { 0, 0, 0, 16, 1, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 3, 0x20, 1, 0 };
    static const uint8_t short_body[] = { 0, 0, 0, 16, 1, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0 };
    static const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff };
    struct prop_buf quote = PROP_BUF_INIT(1024);
    REFUSED(ask(refused, sizeof(refused), &quote, err), PROP_E_IO, "qgs-refused");
    REFUSED(ask(short_body, sizeof(short_body), &quote, err), PROP_E_INPUT, "qgs-answer");
    REFUSED(ask(huge, sizeof(huge), &quote, err), PROP_E_INPUT, "qgs-answer");
    host.nobody = true;
    REFUSED(ask("", 0, &quote, err), PROP_E_UNSUPPORTED, "no-qgs");
    assert_int_equal(quote.len, 0);
}

/* The whole way of a TD whose kernel has no configfs-tsm: the real quote, with our report data in it. */
static void test_evidence_by_vsock(void **state)
{
    (void)state;
    json_t *v = shared_json(MEASURE, "tdx-quote-v4.json");
    struct prop_buf q = bytes_of(v, "quote_base64"), answer = PROP_BUF_INIT(1u << 16);
    struct prop_tee_machine m = bare;
    struct prop_tee_ask want = { .tee = PROP_TEE_TDX, .allow_debug = true };
    struct prop_tee_answer a = PROP_TEE_ANSWER_INIT;
    uint32_t size = (uint32_t)(16 + 8 + q.len);
    uint8_t head[28] = { 0, 0, (uint8_t)(size >> 8), (uint8_t)size, 1, 0, 0, 0, 1, 0, 0, 0,
                         (uint8_t)size, (uint8_t)(size >> 8) };
    head[24] = (uint8_t)q.len;
    head[25] = (uint8_t)(q.len >> 8);
    memset(want.report_data, 0x42, sizeof(want.report_data));
    memset(q.data + 568, 0, 64);
    memset(q.data + 568, 0x42, 48);
    assert_int_equal(prop_buf_add(&answer, head, sizeof(head), NULL), 0);
    assert_int_equal(prop_buf_add(&answer, q.data, q.len, NULL), 0);
    m.calls = &calls;
    m.tdx_guest = "/dev/null";
    host.answer = answer.data;
    host.len = answer.len;
    assert_int_equal(prop_tee_evidence_on(&m, &want, &a, NULL), 0);
    assert_int_equal(pthread_join(host.thread, NULL), 0);
    assert_int_equal(prop_tee_checks_verdict(&a.checks, NULL), 0);
    assert_int_equal(a.fields->raw.len, q.len);
    assert_int_equal(host.request[28 + 128], 0x42);
    prop_tee_answer_release(&a);
    /* Nobody there: what is said is how quotes come today. */
    host.nobody = true;
    REFUSED(prop_tee_evidence_on(&m, &want, &a, err), PROP_E_UNSUPPORTED, "no-tsm");
    host.ioctl_errno = EIO;
    REFUSED(prop_tee_evidence_on(&m, &want, &a, err), PROP_E_IO, "tdx-guest-refused");
    prop_buf_release(&q);
    prop_buf_release(&answer);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_quote, setup),
        cmocka_unit_test_setup(test_refusals, setup),
        cmocka_unit_test_setup(test_evidence_by_vsock, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
