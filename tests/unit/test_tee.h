/* Shared by the tests of tee/: a machine that shows nothing, and recorded bytes. */
#ifndef PROP_TESTS_UNIT_TEST_TEE_H
#define PROP_TESTS_UNIT_TEST_TEE_H

#include "test_kbs_shared.h"

#include "tee/check.h"
#include "tee/evidence.h"
#include "tee/fields.h"
#include "tee/machine.h"
#include "tee/snp.h"
#include "tee/tdx.h"
#include "util/encode.h"

#include <errno.h>
#include <unistd.h>

#define MEASURE "fixtures/measure"
#define UNUSED __attribute__((unused))

static int no_open(const char *path)
{
    (void)path;
    errno = ENOENT;
    return -1;
}

static int no_msr(const char *path, uint32_t msr, uint64_t *ret)
{
    (void)path, (void)msr, (void)ret;
    errno = ENOENT;
    return -1;
}

static bool no_cpuid(uint32_t leaf, uint32_t ret[4])
{
    (void)leaf, (void)ret;
    return false;
}

static bool no_configfs(const char *path)
{
    (void)path;
    return false;
}

UNUSED static const struct prop_tee_calls no_calls = { .open = no_open, .read_msr = no_msr,
                                                       .cpuid = no_cpuid,
                                                       .is_configfs = no_configfs };

/* No sign of a TEE at all, wherever the tests run. */
UNUSED static const struct prop_tee_machine bare = {
    .tsm_root = "/nonexistent/tsm", .sev_guest = "/nonexistent/sev", .tdx_guest = "/nonexistent/tdx",
    .ccel = "/nonexistent/ccel", .configfs = "/nonexistent", .calls = &no_calls,
};

/* A member in base64. */
UNUSED static struct prop_buf bytes_of(const json_t *o, const char *name)
{
    struct prop_buf b = PROP_BUF_INIT(1u << 20);
    const char *s = text_of(o, name);
    assert_int_equal(prop_b64_decode(PROP_B64_STD, s, strlen(s), name, &b, NULL), 0);
    return b;
}

/* A call that must fail with this code and this exact cause, and say what to do. */
#define REFUSED(call, want_code, want_id)                                                          \
    do {                                                                                           \
        struct prop_err r_err_ = PROP_ERR_INIT;                                                    \
        struct prop_err *err = &r_err_;                                                            \
        int r_rc_ = (call);                                                                        \
        if (r_rc_ != (want_code) || strcmp(prop_err_id(err), want_id) != 0)                        \
            print_error("%s: %d, %s: %s\n", #call, r_rc_, prop_err_id(err), err->message);         \
        assert_int_equal(r_rc_, (want_code));                                                      \
        assert_int_equal(err->code, (want_code));                                                  \
        assert_string_equal(prop_err_id(err), want_id);                                            \
        assert_true(err->message[0] != 0);                                                         \
    } while (0)

#endif
