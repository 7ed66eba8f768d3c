/* Runtime events against a register file that extends as the kernel's does: this program brings its own
 * write(). Order, crashes in between, and machines without such a register. */
#include "test_tee.h"

#include "tee/aael.h"
#include "tee/eventlog.h"
#include "tee/tdx_guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static struct {
    char root[64], log[128], wal[128], rtmr3[128], tdx[128];
    int fail_register, fail_log; /* errno of the next write to each */
    int extended;
} box;
static pthread_mutex_t kernel_lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t extend(int fd, const void *data, size_t len)
{
    uint8_t now[PROP_RTMR_LEN];
    if (len != PROP_RTMR_LEN)
        return errno = EINVAL, -1;
    int in = open(box.rtmr3, O_RDONLY | O_CLOEXEC);
    (void)pthread_mutex_lock(&kernel_lock);
    bool good = read(in, now, sizeof(now)) == PROP_RTMR_LEN &&
                prop_rtmr_extend(now, data, NULL) == 0 &&
                syscall(SYS_pwrite64, fd, now, sizeof(now), 0) == PROP_RTMR_LEN;
    box.extended++;
    (void)pthread_mutex_unlock(&kernel_lock);
    (void)close(in);
    return good ? PROP_RTMR_LEN : -1;
}

ssize_t write(int fd, const void *data, size_t len)
{
    char link[64], path[512] = { 0 };
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bool ours = box.root[0] && readlink(link, path, sizeof(path) - 1) > 0;
    int *fail = !ours ? NULL : strcmp(path, box.rtmr3) == 0 ? &box.fail_register
                : strcmp(path, box.log) == 0 ? &box.fail_log : NULL;
    if (fail && *fail) {
        errno = *fail;
        *fail = 0;
        return -1;
    }
    return ours && strcmp(path, box.rtmr3) == 0 ? extend(fd, data, len)
                                                : syscall(SYS_write, fd, data, len);
}

static struct prop_tee_machine machine(void)
{
    struct prop_tee_machine m = bare;
    m.aael = box.log;
    m.measurements = box.root;
    m.tdx_guest = box.tdx;
    return m;
}

static int setup(void **state)
{
    static const uint8_t zeros[PROP_RTMR_LEN];
    (void)state;
    memset(&box, 0, sizeof(box));
    char root[] = "/tmp/prop-aael-XXXXXX";
    if (!mkdtemp(root))
        return -1;
    (void)snprintf(box.log, sizeof(box.log), "%s/agent/eventlog", root);
    (void)snprintf(box.wal, sizeof(box.wal), "%s/agent/.wal_event_entry", root);
    (void)snprintf(box.rtmr3, sizeof(box.rtmr3), "%s/rtmr3:sha384", root);
    (void)snprintf(box.tdx, sizeof(box.tdx), "%s/tdx_guest", root);
    if (prop_file_write(box.rtmr3, zeros, sizeof(zeros), 0600, true, NULL) < 0)
        return -1;
    memcpy(box.root, root, sizeof(root));
    return 0;
}

static int teardown(void **state)
{
    char dir[128];
    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/agent", box.root);
    (void)unlink(box.wal);
    (void)unlink(box.log);
    (void)unlink(box.rtmr3);
    (void)unlink(box.tdx);
    (void)rmdir(dir);
    int rc = rmdir(box.root);
    box.root[0] = 0;
    return rc;
}

static int event(const char *content, struct prop_err *err)
{
    struct prop_tee_machine m = machine();
    const char *why = "unset";
    int rc = prop_tee_event_on(&m, "propcvm", "RunModule", content, &why, err);
    if (rc == 0)
        assert_null(why);
    return rc;
}

/* The log, with a header before it, replays to the register; returns how many events it has. */
static size_t replays(void)
{
    struct prop_tee_machine m = machine();
    struct prop_buf log = PROP_BUF_INIT(1u << 16), joined = PROP_BUF_INIT(1u << 16);
    uint8_t rtmr[PROP_RTMRS][PROP_RTMR_LEN], now[PROP_RTMR_LEN];
    struct prop_event *events = NULL;
    size_t used = 0, n = 0;
    int fd = -1;
    assert_int_equal(prop_aael_lock(&m, &fd, NULL), 0);
    assert_true(fd >= 0);
    assert_int_equal(prop_aael_read(fd, &log, NULL), 0);
    (void)close(fd);
    assert_int_equal(prop_eventlog_join(NULL, 0, log.data, log.len, &joined, NULL), 0);
    assert_int_equal(prop_eventlog_replay(joined.data, joined.len, &used, rtmr, NULL), 0);
    assert_int_equal(used, joined.len);
    assert_int_equal(prop_tdx_read_register(&m, "rtmr3:sha384", now, NULL), 0);
    assert_memory_equal(now, rtmr[3], sizeof(now));
    assert_int_equal(prop_eventlog_parse(joined.data, joined.len, &events, &n, &used, NULL), 0);
    prop_free(events);
    prop_buf_release(&log);
    prop_buf_release(&joined);
    assert_int_equal(access(box.wal, F_OK), -1);
    return n;
}

static void test_events_are_logged_and_extended(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(event("{\"module\":\"sha256:1\"}", NULL), 0);
    assert_int_equal(event("{\"module\":\"sha256:2\"}", NULL), 0);
    assert_int_equal(replays(), 2);
    assert_int_equal(box.extended, 2);
    assert_int_equal(stat(box.log, &st), 0);
    assert_int_equal(st.st_mode & 022, 0); /* nobody else writes there */
}

static void test_no_td(void **state)
{
    (void)state;
    struct prop_tee_machine m = machine();
    const char *why = NULL;
    assert_int_equal(unlink(box.rtmr3), 0);
    assert_int_equal(prop_tee_event_on(&m, "d", "o", "c", &why, NULL), 0);
    assert_non_null(strstr(why, "no TD"));
    assert_int_equal(prop_file_write(box.tdx, "", 0, 0600, true, NULL), 0);
    assert_int_equal(prop_tee_event_on(&m, "d", "o", "c", &why, NULL), 0);
    assert_non_null(strstr(why, "6.16"));
    m.measurements = NULL;
    assert_int_equal(prop_tee_event_on(&m, "d", "o", "c", &why, NULL), 0);
    assert_int_equal(access(box.log, F_OK), -1); /* and nothing is left behind */
    REFUSED(prop_tee_event_on(&m, "d d", "o", "c", &why, err), PROP_E_INPUT, "event-text");
    /* Also through the front door, on whatever this machine is: no failure. */
    why = NULL;
    if (access("/dev/tdx_guest", F_OK) != 0) {
        assert_int_equal(prop_tee_module_event("sha256:a", "sha256:b", &why, NULL), 0);
        assert_non_null(why);
    }
}

static void test_a_register_that_refuses(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(event("one", NULL), 0);
    box.fail_register = EIO;
    assert_int_equal(event("never", &err), PROP_E_IO);
    assert_non_null(strstr(err.message, "RunModule"));
    assert_int_equal(replays(), 1);
    assert_int_equal(event("two", NULL), 0);
    assert_int_equal(replays(), 2);
}

/* The register was extended and the log could not be written: the next call finishes that first. */
static void test_a_crash_before_the_log(void **state)
{
    (void)state;
    assert_int_equal(event("one", NULL), 0);
    box.fail_log = ENOSPC;
    assert_int_equal(event("two words of content", NULL), PROP_E_IO);
    assert_int_equal(access(box.wal, F_OK), 0);
    assert_int_equal(event("three", NULL), 0);
    assert_int_equal(replays(), 3);
    /* Mended by who reads, too. */
    box.fail_log = ENOSPC;
    assert_int_equal(event("four", NULL), PROP_E_IO);
    assert_int_equal(replays(), 4);
    assert_int_equal(box.extended, 4);
}

/* Half an entry in the log: cut off, and written whole. */
static void test_a_crash_within_the_log(void **state)
{
    (void)state;
    assert_int_equal(event("one", NULL), 0);
    box.fail_log = ENOSPC;
    assert_int_equal(event("two", NULL), PROP_E_IO);
    int fd = open(box.log, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(syscall(SYS_write, fd, "\4\0\0\0\6", 5), 5);
    (void)close(fd);
    assert_int_equal(replays(), 2);
}

/* A write-ahead file whose register was never extended: that event did not happen. */
static void test_a_crash_before_the_register(void **state)
{
    (void)state;
    char wal[8 + 48 + 6] = { 0 };
    assert_int_equal(event("one", NULL), 0);
    memcpy(wal + 56, "a b c", 6);
    assert_int_equal(prop_file_write(box.wal, wal, 61, 0600, true, NULL), 0);
    assert_int_equal(replays(), 1);
    assert_int_equal(prop_file_write(box.wal, "short", 5, 0600, true, NULL), 0);
    assert_int_equal(replays(), 1);
}

static void *many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 20; i++)
        if (event("many", NULL) < 0)
            return (void *)1;
    return NULL;
}

static void test_many_writers(void **state)
{
    (void)state;
    pthread_t t[4];
    void *bad = NULL;
    for (size_t i = 0; i < PROP_ARRAY_LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, many, NULL), 0);
    for (size_t i = 0; i < PROP_ARRAY_LEN(t); i++) {
        assert_int_equal(pthread_join(t[i], &bad), 0);
        assert_null(bad);
    }
    assert_int_equal(replays(), 80);
}

static void test_registers(void **state)
{
    (void)state;
    struct prop_tee_machine m = machine();
    uint8_t r[PROP_RTMR_LEN];
    REFUSED(prop_tdx_read_register(&m, "rtmr2:sha384", r, err), PROP_E_UNSUPPORTED, "no-measurements");
    assert_int_equal(prop_file_write(box.tdx, "short", 5, 0600, true, NULL), 0);
    assert_int_equal(prop_tdx_read_register(&m, "tdx_guest", r, NULL), PROP_E_IO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_events_are_logged_and_extended),
        TEST(test_no_td),
        TEST(test_a_register_that_refuses),
        TEST(test_a_crash_before_the_log),
        TEST(test_a_crash_within_the_log),
        TEST(test_a_crash_before_the_register),
        TEST(test_many_writers),
        TEST(test_registers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
