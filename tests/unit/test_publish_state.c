/* Which key brokers count as being on this machine: the ones sample evidence is taken for. */
#include "publish/state.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool loopback;
    } cases[] = {
        { "http://127.0.0.1:8080", true },
        { "http://127.0.0.1", true },
        { "https://127.9.8.7:1/x", true },
        { "http://localhost:8080", true },
        { "http://[::1]:8080", true },
        { "http://[::1]", true },
        { "http://[::1", false },
        { "http://[::1]x", false },
        { "http://[::2]:8080", false },
        { "http://[::ffff:1.2.3.4]", false },
        { "http://localhost.example.com", false },
        { "http://127.0.0.1.example.com:8080", false },
        { "http://127.1", false },
        { "http://128.0.0.1", false },
        { "http://127.0.0.1@example.com", false },
        { "http://localhost@127.0.0.1", false },
        { "http://example.com/127.0.0.1", false },
        { "http://example.com?127.0.0.1", false },
        { "http://", false },
        { "", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (prop_publish_is_loopback(cases[i].url) != cases[i].loopback)
            fail_msg("%s", cases[i].url);
}

static void test_release_at_once(void **state)
{
    (void)state;
    const struct prop_publish p = { .title = NULL };
    struct prop_publish_state s;
    assert_int_equal(prop_publish_state_init(&s, &p, NULL), 0);
    assert_non_null(s.steps);
    prop_publish_state_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_release_at_once),
    };
    return cmocka_run_group_tests_name("publish state", tests, NULL, NULL);
}
