/* The last bytes of a stream: growing, dropping the oldest, reading back across the ring's seam. */
#include "oci/window.h"

#include "support.h"

#include <string.h>

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 13);
}

static void keep(struct prop_window *w, uint64_t offset, size_t len)
{
    static uint8_t data[1 << 20];

    for (size_t i = 0; i < len; i++)
        data[i] = byte_at(offset + i);
    assert_int_equal(prop_window_keep(w, data, len, NULL), 0);
}

/* Everything held, piece by piece. */
static void check(const struct prop_window *w)
{
    size_t pieces = 0;

    for (uint64_t at = w->begin; at < w->end; pieces++) {
        size_t len = 0;
        const uint8_t *p = prop_window_at(w, at, &len);

        assert_true(len > 0 && len <= w->end - at);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(p[i], byte_at(at + i));
        at += len;
    }
    assert_true(pieces <= 2);
}

static void run(uint64_t start, size_t step, size_t max, uint64_t total)
{
    struct prop_window w = { .max = max };
    uint64_t at = start;

    prop_window_reset(&w, start);
    while (at < start + total) {
        keep(&w, at, step);
        at += step;
        assert_int_equal(w.end, at);
        assert_true(w.end - w.begin <= max && w.cap <= max);
        /* nothing is dropped before it must be */
        assert_true(w.begin == start || w.end - w.begin == w.cap);
        check(&w);
    }
    /* and again from elsewhere, in the same memory */
    prop_window_reset(&w, at + 12345);
    keep(&w, at + 12345, step);
    check(&w);
    assert_int_equal(w.end - w.begin, step);
    prop_window_release(&w);
}

static void test_rings(void **state)
{
    (void)state;
    run(0, 131072, 1 << 20, 3 << 20);
    run(0, 1000, 262144, 700000);
    run(7, 131071, 262144, 2 << 20);
    run((uint64_t)5 << 32, 65536, 1 << 20, 5 << 20);
    run(999, 1, 131072, 3000);
    run(3, 100003, 300000, 2 << 20); /* a maximum that is no power of two */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rings) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
