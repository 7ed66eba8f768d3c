/* Sessions over one connection, against a server in a thread that says what it is told: when they
 * are used again, when they are made anew, and what the calls without a verb of their own send. */
#include "test_kbs_shared.h"

#include "kbs/kbs.h"
#include "jose/jwe.h"
#include "jose/jwk.h"
#include "util/encode.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_REQUESTS 16
#define ERRORS "https://github.com/confidential-containers/kbs/errors/"

static struct {
    int listener;
    pthread_t thread;
    char url[64];
    int connections, n;
    char line[MAX_REQUESTS][128];
    char *body[MAX_REQUESTS];
    const char *answers[MAX_REQUESTS]; /* "STATUS BODY"; "RESOURCE" = a JWE to the last TEE key */
    struct prop_pkey *tee;             /* the key of the last attestation */
} server;

static void reply(int fd, int status, const char *body)
{
    prop_auto_free char *text = prop_asprintf(
        "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n"
        "Set-Cookie: kbs-session-id=0123456789abcdef0123456789abcdef; Expires=x\r\n\r\n%s",
        status, strlen(body), body);
    assert_non_null(text);
    (void)prop_write_all(fd, text, strlen(text));
}

static void reply_resource(int fd)
{
    struct prop_secret *plain = NULL;
    struct prop_buf out = PROP_BUF_INIT(65536);
    assert_int_equal(prop_secret_copy("the key", 7, &plain, NULL), 0);
    assert_int_equal(prop_jwe_encrypt(plain, server.tee, NULL, NULL, PROP_JWE_FLATTENED, &out, NULL),
                     0);
    reply(fd, 200, prop_buf_str(&out));
    prop_buf_release(&out);
    prop_secret_free(plain);
}

/* Remember whom the resource is to be encrypted to. */
static void note_attestation(const char *body)
{
    json_t *root = NULL;
    assert_int_equal(prop_json_parse(body, strlen(body), "attestation", &root, NULL), 0);
    prop_pkey_free(server.tee);
    server.tee = NULL;
    assert_int_equal(prop_jwk_import(json_object_get(json_object_get(root, "runtime-data"),
                                                     "tee-pubkey"), "key", &server.tee, NULL), 0);
    json_decref(root);
}

/* One request read whole; false at the end of the connection. */
static bool one_request(int fd)
{
    char buf[65536];
    size_t len = 0, want = SIZE_MAX, head = 0;
    while (len < want) {
        ssize_t n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        buf[len] = 0;
        const char *end = strstr(buf, "\r\n\r\n");
        if (end && want == SIZE_MAX) {
            const char *cl = strcasestr(buf, "content-length: ");
            head = (size_t)(end - buf) + 4;
            want = head + (cl && cl < end ? strtoul(cl + 16, NULL, 10) : 0);
        }
    }
    int i = server.n++;
    if (i >= MAX_REQUESTS)
        return false;
    (void)snprintf(server.line[i], sizeof(server.line[i]), "%.*s",
                   (int)strcspn(buf, "\r"), buf);
    server.body[i] = prop_strdup(buf + head);
    if (strstr(server.line[i], "/attest "))
        note_attestation(server.body[i]);
    const char *say = server.answers[i] ? server.answers[i] : "500 ";
    if (strcmp(say, "RESOURCE") == 0)
        reply_resource(fd);
    else
        reply(fd, (int)strtol(say, NULL, 10), say + 4);
    return true;
}

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept(server.listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        server.connections++;
        while (one_request(fd))
            ;
        (void)close(fd);
    }
}

static int setup(void **state)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    struct prop_kbs *k = NULL;
    memset(&server, 0, sizeof(server));
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listener, (struct sockaddr *)&a, len) < 0 || listen(server.listener, 8) < 0 ||
        getsockname(server.listener, (struct sockaddr *)&a, &len) < 0)
        return -1;
    (void)snprintf(server.url, sizeof(server.url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    struct prop_kbs_config c = { .url = server.url };
    if (pthread_create(&server.thread, NULL, serve, NULL) != 0 || prop_kbs_new(&c, &k, NULL) < 0)
        return -1;
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    prop_kbs_free(*state);
    (void)shutdown(server.listener, SHUT_RDWR);
    (void)pthread_join(server.thread, NULL);
    (void)close(server.listener);
    for (int i = 0; i < MAX_REQUESTS; i++)
        prop_free(server.body[i]);
    prop_pkey_free(server.tee);
    return 0;
}

static void script(const char *const *answers, size_t n)
{
    memcpy(server.answers, answers, n * sizeof(*answers));
}
#define SCRIPT(...)                                                                                \
    script((const char *const[]){ __VA_ARGS__ },                                                   \
           sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

#define AUTH "200 {\"nonce\":\"n\",\"extra-params\":\"\"}"
#define ATTEST "200 {\"token\":\"a.b.c\"}"
#define LOST "401 {\"type\":\"" ERRORS "TokenNotFound\",\"detail\":\"Attestation Token not found\"}"
#define DENY "401 {\"type\":\"" ERRORS "PolicyDeny\",\"detail\":\"Access denied by policy\"}"

static int get(struct prop_kbs *k, const struct prop_kbs_attest *how, struct prop_err *err)
{
    struct prop_resource_id id;
    struct prop_secret *s = NULL;
    assert_int_equal(prop_resource_id_parse("a/b/c", false, &id, NULL), 0);
    int rc = prop_kbs_get_resource(k, how, &id, &s, err);
    if (rc == 0) {
        assert_int_equal(prop_secret_len(s), 7);
        assert_memory_equal(prop_secret_data(s), "the key", 7);
    } else {
        assert_null(s);
    }
    prop_secret_free(s);
    return rc;
}

static const struct prop_kbs_attest sample = { .tee = PROP_TEE_SAMPLE };

static void test_one_connection_one_session(void **state)
{
    SCRIPT(AUTH, ATTEST, "RESOURCE", "RESOURCE", "RESOURCE");
    for (int i = 0; i < 3; i++)
        assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(server.n, 5);
    assert_int_equal(server.connections, 1);
}

static void test_attest_then_get(void **state)
{
    struct prop_buf token = PROP_BUF_INIT(1024);
    SCRIPT(AUTH, ATTEST, "RESOURCE");
    assert_int_equal(prop_kbs_attest(*state, &sample, &token, NULL), 0);
    assert_string_equal(prop_buf_str(&token), "a.b.c");
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(server.n, 3);
    prop_buf_release(&token);
}

static void test_a_lost_session_is_made_anew_once(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    SCRIPT(AUTH, ATTEST, "RESOURCE", LOST, AUTH, ATTEST, "RESOURCE", LOST, AUTH, ATTEST, LOST);
    assert_int_equal(get(*state, &sample, &err), 0);
    assert_int_equal(get(*state, &sample, &err), 0);
    assert_int_equal(err.code, PROP_OK);
    assert_int_equal(server.n, 7);
    assert_int_equal(get(*state, &sample, &err), PROP_E_AUTH);
    assert_int_equal(server.n, 11);
}

static void test_a_denial_is_not_asked_twice(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    SCRIPT(AUTH, ATTEST, "RESOURCE", DENY, "RESOURCE");
    assert_int_equal(get(*state, &sample, &err), 0);
    assert_int_equal(get(*state, &sample, &err), PROP_E_DENIED);
    assert_int_equal(server.n, 4);
    /* The session is still good. */
    assert_int_equal(get(*state, &sample, &err), 0);
}

static void test_other_keys_and_init_data_are_other_sessions(void **state)
{
    struct prop_pkey *a = NULL, *b = NULL;
    assert_int_equal(prop_pkey_generate(PROP_PKEY_P256, 0, &a, NULL), 0);
    assert_int_equal(prop_pkey_generate(PROP_PKEY_P256, 0, &b, NULL), 0);
    const struct prop_kbs_attest how[] = {
        { PROP_TEE_SAMPLE, a, NULL },    { PROP_TEE_SAMPLE, b, NULL },
        { PROP_TEE_SAMPLE, b, "x = 1" }, { PROP_TEE_SAMPLE, NULL, "x = 1" },
        { PROP_TEE_SAMPLE, NULL, "x = 2" },
    };
    SCRIPT(AUTH, ATTEST, "RESOURCE", AUTH, ATTEST, "RESOURCE", AUTH, ATTEST, "RESOURCE", AUTH,
           ATTEST, "RESOURCE", AUTH, ATTEST, "RESOURCE", "RESOURCE");
    for (size_t i = 0; i < PROP_ARRAY_LEN(how); i++)
        assert_int_equal(get(*state, &how[i], NULL), 0);
    assert_int_equal(server.n, 15);
    assert_int_equal(get(*state, &how[4], NULL), 0);
    assert_int_equal(server.n, 16);
    prop_pkey_free(a);
    prop_pkey_free(b);
}

static void test_failures_leave_no_session(void **state)
{
    SCRIPT(AUTH, "401 {\"type\":\"" ERRORS "AttestationError\",\"detail\":\"x\"}", AUTH, ATTEST,
           "RESOURCE");
    assert_int_equal(get(*state, &sample, NULL), PROP_E_AUTH);
    assert_int_equal(get(*state, &sample, NULL), 0);
}

static void test_reference_values(void **state)
{
    json_t *v = NULL, *sent = NULL;
    struct prop_err err = PROP_ERR_INIT;
    struct prop_buf payload = PROP_BUF_INIT(1024);
    SCRIPT("200 ", "200 [\"1\"]", "200 7",
           "401 {\"type\":\"" ERRORS "RvpsError\",\"detail\":\"RVPS configuration failed: Failed to "
           "get reference_values: No reference value found for the given id: x\"}", "200 ", "200 1,2");
    json_t *values = json_pack("{s:[s],s:i}", "svn", "1", "major_version", 1);
    assert_int_equal(prop_kbs_set_reference_values(*state, values, NULL), 0);
    json_decref(values);
    assert_string_equal(server.line[0], "POST /kbs/v0/reference-value HTTP/1.1");
    assert_int_equal(prop_json_parse(server.body[0], strlen(server.body[0]), "sent", &sent, NULL), 0);
    assert_string_equal(text_of(sent, "type"), "sample");
    const char *b64 = text_of(sent, "payload");
    assert_int_equal(prop_b64_decode(PROP_B64_STD, b64, strlen(b64), "payload", &payload, NULL), 0);
    assert_string_equal(prop_buf_str(&payload), "{\"svn\":[\"1\"],\"major_version\":1}");
    assert_int_equal(prop_kbs_get_reference_value(*state, "svn", &v, NULL), 0);
    assert_int_equal(json_array_size(v), 1);
    json_decref(v);
    assert_int_equal(prop_kbs_get_reference_value(*state, "a/b.c", &v, NULL), 0);
    assert_int_equal(json_integer_value(v), 7);
    json_decref(v);
    v = NULL;
    assert_int_equal(prop_kbs_get_reference_value(*state, "x", &v, &err), PROP_E_NOTFOUND);
    assert_true(prop_kbs_get_reference_value(*state, "x", &v, &err) < 0);
    assert_true(prop_kbs_get_reference_value(*state, "x", &v, &err) < 0);
    assert_int_equal(prop_kbs_get_reference_value(*state, "a?b", &v, &err), PROP_E_INPUT);
    assert_int_equal(prop_kbs_get_reference_value(*state, "../x", &v, &err), PROP_E_INPUT);
    assert_null(v);
    assert_int_equal(server.n, 6);
    json_decref(sent);
    prop_buf_release(&payload);
}

static void test_attestation_policy(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    SCRIPT("200 ", "401 {\"type\":\"" ERRORS "AttestationError\",\"detail\":\"x\"}");
    assert_int_equal(prop_kbs_set_attestation_policy(*state, "default_cpu", "package policy", 14,
                                                     NULL), 0);
    assert_string_equal(server.body[0], "{\"type\":\"rego\",\"policy_id\":\"default_cpu\","
                                        "\"policy\":\"cGFja2FnZSBwb2xpY3k\"}");
    assert_int_equal(prop_kbs_set_attestation_policy(*state, "default_cpu", "x", 1, &err),
                     PROP_E_INPUT);
}

static void test_health(void **state)
{
    SCRIPT("200 ", "404 ",
           "401 {\"type\":\"" ERRORS "AdminAuth\",\"detail\":\"x\"}", "404 ", "404 ", "404 ",
           "200 [\"resource-policy\"]");
    struct prop_err err = PROP_ERR_INIT;
    assert_int_equal(prop_kbs_health(*state, &err), 0);
    assert_int_equal(prop_kbs_health(*state, &err), 0); /* before v0.21 */
    assert_int_equal(prop_kbs_health(*state, &err), PROP_E_REMOTE); /* some other server */
    assert_string_equal(prop_err_id(&err), "not-a-kbs");
    assert_int_equal(prop_kbs_health(*state, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_connection_one_session, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attest_then_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_session_is_made_anew_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_denial_is_not_asked_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_keys_and_init_data_are_other_sessions, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_failures_leave_no_session, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reference_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attestation_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_health, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
