/* Broker addresses, and the start messages of both generations of managers. */
#include "guest/outbox.h"
#include "guest/task.h"
#include "mqtt/mqtt.h"
#include "util/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        unsigned port;
        bool tls;
    } good[] = {
        { "tcp://h:1", "h", 1, false },         { "mqtt://h", "h", 1883, false },
        { "ssl://h", "h", 8883, true },         { "tls://h:7", "h", 7, true },
        { "mqtts://H.example", "H.example", 8883, true },
        { "h:2", "h", 2, false },               { "h", "h", 1883, false },
        { "[::1]:3", "::1", 3, false },         { "tcp://[fe80::1]", "fe80::1", 1883, false },
        { "TLS://h/", "h", 8883, true },
    };
    static const char *const bad[] = {
        "", "tcp://", "tcp://:1", "h:", "h:0", "h:65536", "h:x", "ws://h", "http://h", "tcp://h:1/x",
        "[::1", "[::1]x", "u@h", "a b", "tcp://[]:1", "h:-1",
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_mqtt_address a;

    for (size_t i = 0; i < PROP_ARRAY_LEN(good); i++) {
        assert_int_equal(prop_mqtt_address_parse(good[i].text, &a, &err), 0);
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(a.tls, good[i].tls);
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        if (prop_mqtt_address_parse(bad[i], &a, &err) != PROP_E_INPUT)
            fail_msg("'%s' was taken", bad[i]);
        assert_string_equal(prop_err_id(&err), "mqtt-address");
    }
}

static void test_loopback(void **state)
{
    (void)state;
    static const char *const here[] = { "localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:1", "tcp://LOCALHOST" };
    static const char *const there[] = { "example.com", "10.0.0.1", "[::2]:1", "localhost.example.com",
                                         "1270.0.0.1", "128.0.0.1" };
    struct prop_mqtt_address a;

    for (size_t i = 0; i < PROP_ARRAY_LEN(here); i++) {
        assert_int_equal(prop_mqtt_address_parse(here[i], &a, NULL), 0);
        assert_true(prop_mqtt_address_is_loopback(&a));
    }
    for (size_t i = 0; i < PROP_ARRAY_LEN(there); i++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_mqtt *m = NULL;
        assert_int_equal(prop_mqtt_address_parse(there[i], &a, NULL), 0);
        assert_false(prop_mqtt_address_is_loopback(&a));
        const struct prop_mqtt_config c = { .address = a, .client_id = "x" };
        assert_int_equal(prop_mqtt_new(&c, &m, &err), PROP_E_DENIED);
        assert_string_equal(prop_err_id(&err), "mqtt-plain");
        assert_null(m);
    }
}

/* ---- start messages ---- */

static int parse(const char *text, struct prop_task *t, struct prop_err *err)
{
    return prop_task_parse_start(text, strlen(text), t, err);
}

static void test_a_start(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_task struct prop_task t = { .json = NULL };

    assert_int_equal(parse("{\"id\":\"a\",\"name\":\"n\",\"file\":\"AGFzbQ==\",\"inputs\":null,\"env\":null,"
                           "\"cli_args\":[\"-S\",\"cli\"],\"daemon\":true,\"latent\":true,"
                           "\"broadcast\":true,\"image_url\":null,\"parent_results\":[1],"
                           "\"monitoring_profile\":{\"interval\":5000000000,\"collect_cpu\":false}}",
                           &t, &err), 0);
    assert_int_equal(t.file_len, 4);
    assert_memory_equal(t.file, "\0asm", 4);
    assert_true(t.daemon && t.latent && t.broadcast && !t.encrypted);
    assert_null(t.proplet_id);
    assert_int_equal(t.profile.interval_ms, 5000);
    assert_false(t.profile.cpu);
    assert_true(t.profile.memory && t.profile.enabled && t.profile.export_to_mqtt);
}

static void test_intervals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = {
        { "\"monitoring_profile\":{\"interval\":5}", 5000 },
        { "\"monitoringProfile\":{\"interval\":1000000}", 1000000000 },
        { "\"monitoring_profile\":{\"interval\":2000000000}", 2000 },
        { "\"monitoring_profile\":{\"interval\":1000001}", 1000 },
        { "\"monitoring_profile\":null", 10000 },
        { "\"daemon\":true", 120000 },
        { "\"daemon\":true,\"monitoring_profile\":{}", 120000 },
    };

    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_err err = PROP_ERR_INIT;
        prop_auto_task struct prop_task t = { .json = NULL };
        char text[256];
        (void)snprintf(text, sizeof text, "{\"id\":\"a\",\"name\":\"n\",\"file\":\"AA==\",%s}", cases[i].text);
        assert_int_equal(parse(text, &t, &err), 0);
        assert_int_equal(t.profile.interval_ms, cases[i].ms);
    }
    struct prop_task t = { .json = NULL };
    assert_int_equal(parse("{\"id\":\"a\",\"name\":\"n\",\"file\":\"AA==\",\"monitoring_profile\":"
                           "{\"interval\":0}}", &t, NULL), PROP_E_INPUT);
}

static void test_start_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "{\"name\":\"n\",\"file\":\"AA==\"}", "id is required" },
        { "{\"id\":\"\",\"name\":\"n\"}", "id is required" },
        { "{\"id\":\"a\"}", "name is required" },
        { "{\"id\":\"a\",\"name\":\"n\"}", "either file or image_url must be provided" },
        { "{\"id\":\"a\",\"name\":\"n\",\"encrypted\":true,\"file\":\"AA==\"}",
          "image_url is required for encrypted workloads" },
        { "{\"id\":\"a\",\"name\":\"n\",\"encrypted\":true,\"file\":\"AA==\",\"image_url\":\"r/a\"}",
          "encrypted workloads should only use image_url, not file" },
    };

    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_err err = PROP_ERR_INIT;
        struct prop_task t = { .json = NULL };
        assert_int_equal(parse(cases[i].text, &t, &err), PROP_E_INPUT);
        assert_string_equal(err.message, cases[i].message);
        assert_null(t.json);
    }
}

static void test_labels(void **state)
{
    (void)state;
    static const struct {
        const char *text, *id, *proplet;
    } cases[] = {
        { "{\"id\":\"a\",\"proplet_id\":\"p\"}", "a", "p" },
        { "{\"id\":\"a\",\"proplet_id\":\"p\",", "a", "p" },
        { "{\"id\" : \"a b\" , x", "a b", "" },
        { "{\"id\":\"a", "", "" },
        { "{\"id\":7}", "", "" },
        { "{\"id\":\"a\\nb\"}", "", "" },
        { "{\"id\":\"a\\\\\",", "", "" },
        { "\"id\"", "", "" },
        { "{\"id\":", "", "" },
        { "", "", "" },
        { "{\"x\":{\"id\":\"inner\"}}", "", "" },
    };

    for (size_t i = 0; i < PROP_ARRAY_LEN(cases); i++) {
        struct prop_task_label l;
        prop_task_label(cases[i].text, strlen(cases[i].text), &l);
        assert_string_equal(l.id, cases[i].id);
        assert_string_equal(l.proplet_id, cases[i].proplet);
    }
}

/* ---- the outbox ---- */

struct broker {
    bool up;
    int mid, sent;
    char last[64], done[256], lost[256];
};

static int take(void *ctx, const char *topic, const char *payload, size_t len, int *ret_mid,
                struct prop_err *err)
{
    struct broker *b = ctx;

    (void)err;
    assert_string_equal(topic, "t");
    assert_int_equal(len, strlen(payload));
    if (!b->up)
        return PROP_E_NETWORK;
    (void)snprintf(b->last, sizeof b->last, "%.60s", payload);
    b->sent++;
    *ret_mid = ++b->mid;
    return 0;
}

static void told(void *ctx, const char *label, bool lost)
{
    struct broker *b = ctx;
    char *list = lost ? b->lost : b->done;
    size_t n = strlen(list);

    (void)snprintf(list + n, sizeof b->done - n, "%s ", label);
}

static char *shorter(void *ctx, const char *label, size_t len)
{
    (void)ctx;
    (void)len;
    return prop_asprintf("instead of %s", label);
}

static void wake(void *ctx)
{
    (void)ctx;
}

static struct prop_outbox *outbox(struct broker *b, size_t count, size_t bytes, unsigned window)
{
    const struct prop_outbox_config c = { count, bytes, window, take, told, shorter, wake, b };
    struct prop_outbox *o = NULL;

    assert_int_equal(prop_outbox_new(&c, &o, NULL), 0);
    return o;
}

static void put(struct prop_outbox *o, const char *label, uint64_t due)
{
    assert_int_equal(prop_outbox_add(o, "t", label, prop_strdup(label), due, NULL), 0);
}

static void test_outbox_holds_and_sends(void **state)
{
    (void)state;
    struct broker b = { .up = true };
    struct prop_outbox *o = outbox(&b, 10, 1000, 2);

    put(o, "late", 100);
    put(o, "now", 0);
    assert_int_equal(prop_outbox_pump(o, 50), 100);
    assert_string_equal(b.last, "now");
    assert_int_equal(b.sent, 1);
    (void)prop_outbox_pump(o, 100);
    assert_string_equal(b.last, "late");
    put(o, "third", 0);
    (void)prop_outbox_pump(o, 100);
    assert_int_equal(b.sent, 2); /* the window is full */
    prop_outbox_published(o, 1);
    prop_outbox_published(o, 77); /* a heartbeat's */
    (void)prop_outbox_pump(o, 100);
    assert_int_equal(b.sent, 3);
    prop_outbox_lost(o); /* both that were under way go again */
    b.up = false;
    (void)prop_outbox_pump(o, 100);
    assert_int_equal(b.sent, 3);
    b.up = true;
    (void)prop_outbox_pump(o, 100);
    assert_int_equal(b.sent, 5);
    prop_outbox_published(o, 4);
    prop_outbox_published(o, 5);
    assert_string_equal(b.done, "now late third ");
    assert_int_equal(prop_outbox_count(o), 0);
    prop_outbox_free(o);
}

static void test_outbox_is_bounded(void **state)
{
    (void)state;
    struct broker b = { .up = false };
    struct prop_outbox *o = outbox(&b, 2, 8, 2);

    put(o, "a", 0);
    put(o, "b", 0);
    put(o, "c", 0);
    assert_string_equal(b.lost, "a ");
    put(o, "12345678", 0); /* as many bytes as there may be */
    assert_string_equal(b.lost + 2, "c b ");
    assert_int_equal(prop_outbox_count(o), 1);
    prop_outbox_free(o);
}

/* A message that the broker drops the connection over is blamed alone, and replaced. */
static void test_outbox_poison(void **state)
{
    (void)state;
    struct broker b = { .up = true };
    struct prop_outbox *o = outbox(&b, 10, 1 << 20, 10);
    char *big = prop_zalloc(100001);

    memset(big, 'x', 100000);
    assert_int_equal(prop_outbox_add(o, "t", "big", big, 0, NULL), 0);
    put(o, "small", 0);
    (void)prop_outbox_pump(o, 1);
    assert_int_equal(b.sent, 2);
    for (int i = 0; i < 3; i++) {
        prop_outbox_lost(o);
        (void)prop_outbox_pump(o, 1);
    }
    (void)prop_outbox_pump(o, 1);
    prop_outbox_published(o, b.mid);
    prop_outbox_published(o, b.mid - 1);
    assert_int_equal(prop_outbox_count(o), 0);
    assert_string_equal(b.lost, "");
    assert_non_null(strstr(b.done, "big"));
    assert_non_null(strstr(b.done, "small"));
    prop_outbox_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_a_start),
        cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_start_errors),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_outbox_holds_and_sends),
        cmocka_unit_test(test_outbox_is_bounded),
        cmocka_unit_test(test_outbox_poison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
