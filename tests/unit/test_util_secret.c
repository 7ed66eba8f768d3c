/* Secrets in pages that the kernel does not map: as good as others, and out of its reach. */
#include "util/file.h"
#include "util/secret.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

/* memfd_secret may be missing, or locked memory short: then they lie where they lay before. What the
 * kernel does through its own map it cannot do to them. */
static bool hidden(const struct prop_secret *s)
{
    char copy[8];
    union {
        const void *in;
        void *out;
    } at = {.in = prop_secret_data(s)};
    struct iovec from = {at.out, 1};
    struct iovec to = {copy, 1};

    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) < 0 && errno == EFAULT;
}

static void test_hidden_secrets(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *before = NULL;

    assert_int_equal(prop_secret_copy("before", 6, &before, &err), 0);
    assert_false(hidden(before));
    prop_secret_hide();
    for (size_t len = 0; len < 20000; len = len * 3 + 1) {
        prop_auto_secret struct prop_secret *a = NULL;
        prop_auto_secret struct prop_secret *b = NULL;
        assert_int_equal(prop_secret_new(len, &a, &err), 0);
        memset(prop_secret_bytes(a), 'x', len);
        assert_int_equal(prop_secret_data(a)[len], 0);
        assert_int_equal(prop_secret_copy(prop_secret_data(a), len, &b, &err), 0);
        assert_true(prop_secret_equal(a, b));
    }
}

static void test_files_into_hidden_secrets(void **state)
{
    (void)state;
    char path[] = "/tmp/prop-secret-XXXXXX";
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *s = NULL;
    char text[10000];

    memset(text, 'k', sizeof text);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(prop_write_all(fd, text, sizeof text), 0);
    (void)close(fd);
    int rc = prop_file_read_secret(path, 65536, PROP_SECRET_FILE_PRIVATE, &s, &err);
    (void)unlink(path);
    assert_int_equal(rc, 0);
    assert_int_equal(prop_secret_len(s), sizeof text);
    assert_memory_equal(prop_secret_data(s), text, sizeof text);
}

/* One byte past the last is another page, and nobody's: a system call cannot read it. */
static void test_running_over(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *s = NULL;
    int ends[2];

    assert_int_equal(prop_secret_new(4095, &s, &err), 0);
    if (!hidden(s))
        skip();
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], prop_secret_data(s) + 4096, 1), -1);
    assert_int_equal(errno, EFAULT);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hidden_secrets),
        cmocka_unit_test(test_files_into_hidden_secrets),
        cmocka_unit_test(test_running_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
