/* The progress line: rate, time left, and what gives way in a narrow terminal. */
#include "tests/unit/support.h"

#include "cmd/cli/progress.h"

#define MIB (1ull << 20)

static char line[512];

static const char *text(const struct prop_rate *r, uint64_t done, uint64_t total, size_t columns)
{
    return prop_progress_line(r, "read", done, total, columns, line, sizeof(line));
}

static void test_steady_rate(void **state)
{
    (void)state;
    struct prop_rate r = { .begun_ms = 0 };
    for (uint64_t i = 0; i <= 100; i++)
        prop_rate_add(&r, 5000 + 100 * i, 10 * MIB * i, 2000 * MIB);
    assert_true(r.bytes_per_s > 99.9 * MIB && r.bytes_per_s < 100.1 * MIB);
    assert_string_equal(text(&r, 1000 * MIB, 2000 * MIB, 100),
                        "read  [##################..................]   50%  1000.0 MiB/2.0 GiB"
                        "  100.0 MiB/s  0:10 left");
}

/* A slower half counts as it goes on: after ten seconds the old rate is forgotten. */
static void test_moving_average(void **state)
{
    (void)state;
    struct prop_rate r = { .begun_ms = 0 };
    uint64_t done = 0, now = 1000;
    for (int i = 0; i < 50; i++, now += 100)
        prop_rate_add(&r, now, done += 100 * MIB, 1ull << 50);
    assert_true(r.bytes_per_s > 900.0 * MIB);
    for (int i = 0; i < 10; i++, now += 100)
        prop_rate_add(&r, now, done += MIB, 1ull << 50);
    assert_true(r.bytes_per_s > 500.0 * MIB && r.bytes_per_s < 900.0 * MIB);
    for (int i = 0; i < 300; i++, now += 100)
        prop_rate_add(&r, now, done += MIB, 1ull << 50);
    assert_true(r.bytes_per_s > 9.9 * MIB && r.bytes_per_s < 10.5 * MIB);
}

/* Steps in quick succession are one sample; a step back or another total begins anew. */
static void test_samples(void **state)
{
    (void)state;
    struct prop_rate r = { .begun_ms = 0 };
    prop_rate_add(&r, 1000, 0, 100);
    for (uint64_t i = 1; i < 100; i++)
        prop_rate_add(&r, 1000 + i, i, 100);
    assert_true(r.bytes_per_s <= 0.0);
    prop_rate_add(&r, 2000, 100, 100);
    assert_true(r.bytes_per_s > 99.0 && r.bytes_per_s < 101.0);
    prop_rate_add(&r, 2100, 10, 100);
    assert_true(r.bytes_per_s <= 0.0);
    prop_rate_add(&r, 2300, 50, 100);
    assert_true(r.bytes_per_s > 0.0);
    prop_rate_add(&r, 2400, 60, 200);
    assert_true(r.bytes_per_s <= 0.0);
}

static void test_unknown_parts(void **state)
{
    (void)state;
    struct prop_rate none = { .begun_ms = 0 }, r = { .bytes_per_s = 1536.0 };
    assert_string_equal(text(&none, 512, 0, 80), "read  512 B");
    assert_string_equal(text(&r, 2048, 0, 80), "read  2.0 KiB  1.5 KiB/s");
    assert_string_equal(text(&none, 512, 1024, 40), "read  [#####.....]   50%  512 B/1.0 KiB");
    assert_string_equal(text(&none, 512, 1024, 30), "read   50%  512 B/1.0 KiB");
    assert_non_null(strstr(text(&r, 1536ull * 3700, 1536ull * 7400, 80), "  1:01:40 left"));
    assert_non_null(strstr(text(&r, 0, 1ull << 60, 80), "  > 99 h left"));
    /* more than was announced, and everything: no time left is claimed */
    assert_null(strstr(text(&r, 2048, 1024, 80), "left"));
    assert_non_null(strstr(text(&r, 2048, 1024, 80), "100%"));
}

static void test_width(void **state)
{
    (void)state;
    struct prop_rate r = { .bytes_per_s = 100.0 * MIB };
    for (size_t columns = 0; columns < 200; columns++) {
        size_t n = strlen(text(&r, 300 * MIB, 1000 * MIB, columns));
        assert_true(n <= (columns > 0 ? columns - 1 : 0));
    }
    assert_string_equal(text(&r, 300 * MIB, 1000 * MIB, 62),
                        "read   30%  300.0 MiB/1000.0 MiB  100.0 MiB/s  0:07 left");
    assert_string_equal(text(&r, 300 * MIB, 1000 * MIB, 20), " 30%  300.0 MiB/100");
    char small[8];
    assert_true(strlen(prop_progress_line(&r, "read", 1, 2, 80, small, sizeof(small))) < 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady_rate),   cmocka_unit_test(test_moving_average),
        cmocka_unit_test(test_samples),       cmocka_unit_test(test_unknown_parts),
        cmocka_unit_test(test_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
