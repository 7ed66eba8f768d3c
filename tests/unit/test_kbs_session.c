/* Sessions over one connection, against a server in a thread that says what it is told: when they
 * are used again, when they are made anew, and what the calls without a verb of their own send. */
#include "test_kbs_shared.h"

#include "kbs/kbs.h"
#include "jose/jwe.h"
#include "jose/jwk.h"
#include "tee/binding.h"
#include "util/encode.h"
#include "util/text.h"

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
    char *head[MAX_REQUESTS], *body[MAX_REQUESTS];
    const char *answers[MAX_REQUESTS]; /* "STATUS BODY"; "RESOURCE" = a JWE to the last TEE key */
    struct prop_pkey *tee;             /* the key of the last attestation */
    const char *key_alg;               /* and what it says it is for */
    int cookie_s;                      /* lifetime of sessions; 0 = the server does not say */
    int token_s;                       /* of tokens in the place of "TOKEN" */
    bool close_each;                   /* the connection, without saying so, after each answer */
} server;

static void reply(int fd, int status, const char *body)
{
    char date[30], expires[30] = "x";
    time_t now = 1795266326; /* the server's clock, which is not ours */
    prop_http_date(now, date);
    if (server.cookie_s)
        prop_http_date(now + server.cookie_s, expires);
    prop_auto_free char *text = prop_asprintf(
        "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nDate: %s\r\n"
        "Set-Cookie: kbs-session-id=0123456789abcdef0123456789abcdef; Expires=%s\r\n\r\n%s",
        status, strlen(body), date, expires, body);
    assert_non_null(text);
    (void)prop_write_all(fd, text, strlen(text));
}

static void reply_token(int fd)
{
    prop_auto_free char *claims =
        prop_asprintf("{\"iat\":1795266326,\"exp\":%d}", 1795266326 + server.token_s);
    assert_non_null(claims);
    prop_auto_free char *payload = prop_b64_encode(PROP_B64_URL, claims, strlen(claims));
    prop_auto_free char *body = prop_asprintf("{\"token\":\"e30.%s.c2ln\"}", payload);
    assert_non_null(body);
    reply(fd, 200, body);
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
    const json_t *jwk = json_object_get(json_object_get(root, "runtime-data"), "tee-pubkey");
    assert_int_equal(prop_jwk_import(jwk, "key", &server.tee, NULL), 0);
    server.key_alg = strcmp(text_of(jwk, "alg"), "RSA-OAEP-256") == 0 ? "RSA-OAEP-256"
                     : strcmp(text_of(jwk, "alg"), "ECDH-ES+A256KW") == 0 ? "ECDH-ES+A256KW" : "?";
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
    server.head[i] = prop_strndup(buf, head);
    if (strstr(server.line[i], "/attest "))
        note_attestation(server.body[i]);
    const char *say = server.answers[i] ? server.answers[i] : "500 ";
    if (strcmp(say, "RESOURCE") == 0)
        reply_resource(fd);
    else if (strcmp(say, "TOKEN") == 0)
        reply_token(fd);
    else
        reply(fd, (int)strtol(say, NULL, 10), say + 4);
    return !server.close_each;
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
    for (int i = 0; i < MAX_REQUESTS; i++) {
        prop_free(server.body[i]);
        prop_free(server.head[i]);
    }
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
        { .tee = PROP_TEE_SAMPLE, .tee_key = a },
        { .tee = PROP_TEE_SAMPLE, .tee_key = b },
        { .tee = PROP_TEE_SAMPLE, .tee_key = b, .init_data = "x = 1" },
        { .tee = PROP_TEE_SAMPLE, .init_data = "x = 1" },
        { .tee = PROP_TEE_SAMPLE, .init_data = "x = 2" },
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

/* The session is over and its token is not: the token is shown. Both are over: a new handshake, without
 * a refused request first. Times are the server's own differences, whatever its clock says. */
static void test_tokens_outlive_sessions(void **state)
{
    SCRIPT(AUTH, "TOKEN", "RESOURCE", "RESOURCE");
    server.cookie_s = -1;
    server.token_s = 3600;
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(server.n, 4);
    for (int i = 2; i < 4; i++) {
        assert_non_null(strstr(server.head[i], "Authorization: Bearer e30."));
        assert_null(strstr(server.head[i], "Cookie:"));
    }
}

static void test_a_living_session_shows_its_cookie(void **state)
{
    SCRIPT(AUTH, "TOKEN", "RESOURCE", "RESOURCE");
    server.cookie_s = 300;
    server.token_s = 300;
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(server.n, 4);
    for (int i = 2; i < 4; i++) {
        assert_non_null(strstr(server.head[i], "Cookie: kbs-session-id=0123456789abcdef"));
        assert_null(strstr(server.head[i], "Authorization:"));
    }
}

static void test_what_is_over_is_not_tried(void **state)
{
    SCRIPT(AUTH, "TOKEN", "RESOURCE", AUTH, "TOKEN", "RESOURCE");
    server.cookie_s = 300;
    server.token_s = 1; /* most of it is margin */
    assert_int_equal(get(*state, &sample, NULL), 0);
    for (uint64_t begin = prop_now_ms(); prop_now_ms() < begin + 1000;)
        (void)usleep(20000);
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(server.n, 6);
    assert_non_null(strstr(server.line[3], "/auth "));
}

static void test_a_token_that_is_refused(void **state)
{
    SCRIPT(AUTH, "TOKEN", "RESOURCE", "401 {\"type\":\"" ERRORS "TokenVerifierError\",\"detail\":\"x\"}",
           AUTH, "TOKEN", "RESOURCE");
    server.cookie_s = -1;
    server.token_s = 3600;
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(server.n, 7);
}

/* A restarted server: connections are closed, sessions are gone. */
static void test_connections_that_close(void **state)
{
    SCRIPT(AUTH, ATTEST, "RESOURCE", "RESOURCE", LOST, AUTH, ATTEST, "RESOURCE");
    server.close_each = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(get(*state, &sample, NULL), 0);
    assert_int_equal(server.n, 8);
}

static void test_every_kind_of_key(void **state)
{
    static const struct {
        enum prop_kbs_key key;
        enum prop_pkey_type type;
        const char *alg;
    } kinds[] = { { PROP_KBS_KEY_P256, PROP_PKEY_P256, "ECDH-ES+A256KW" },
                  { PROP_KBS_KEY_P521, PROP_PKEY_P521, "ECDH-ES+A256KW" },
                  { PROP_KBS_KEY_RSA, PROP_PKEY_RSA, "RSA-OAEP-256" } };
    SCRIPT(AUTH, ATTEST, "RESOURCE", AUTH, ATTEST, "RESOURCE", AUTH, ATTEST, "RESOURCE", "RESOURCE");
    for (size_t i = 0; i < PROP_ARRAY_LEN(kinds); i++) {
        struct prop_kbs_attest how = { .tee = PROP_TEE_SAMPLE, .key = kinds[i].key };
        assert_int_equal(get(*state, &how, NULL), 0);
        assert_int_equal(prop_pkey_get_type(server.tee), kinds[i].type);
        assert_string_equal(server.key_alg, kinds[i].alg);
        assert_int_equal(server.n, 3 * i + 3);
    }
    assert_int_equal(get(*state, &(struct prop_kbs_attest){ .tee = PROP_TEE_SAMPLE,
                                                            .key = PROP_KBS_KEY_RSA }, NULL), 0);
    assert_int_equal(server.n, 10);
}

/* Each attestation makes a key of its own: nothing that leaks later opens what was sent before. */
static void test_keys_are_fresh(void **state)
{
    SCRIPT(AUTH, ATTEST, AUTH, ATTEST);
    assert_int_equal(prop_kbs_attest(*state, &sample, NULL, NULL), 0);
    struct prop_pkey *first = server.tee;
    server.tee = NULL;
    assert_int_equal(prop_kbs_attest(*state, &sample, NULL, NULL), 0);
    assert_false(prop_pkey_same_public(first, server.tee));
    prop_pkey_free(first);
}

static void binding_is(const json_t *body, const json_t *evidence, const char *additional)
{
    const json_t *runtime = json_object_get(body, "runtime-data");
    struct prop_digest d;
    assert_int_equal(prop_tee_report_data(text_of(runtime, "nonce"),
                                          json_object_get(runtime, "tee-pubkey"), additional, &d, NULL),
                     0);
    prop_auto_free char *b64 = prop_b64_encode(PROP_B64_STD, d.bytes, d.len);
    assert_string_equal(text_of(evidence, "report_data"), b64);
}

/* A device's evidence is bound to nonce and key; the machine's to these and to the device's text. */
static void test_a_sample_device(void **state)
{
    json_t *body = NULL, *devices = NULL;
    const struct prop_kbs_attest how = { .tee = PROP_TEE_SAMPLE, .sample_device = true };
    SCRIPT(AUTH, ATTEST, "RESOURCE", AUTH, ATTEST, "RESOURCE");
    assert_int_equal(get(*state, &how, NULL), 0);
    assert_int_equal(prop_json_parse(server.body[1], strlen(server.body[1]), "body", &body, NULL), 0);
    const json_t *e = json_object_get(body, "tee-evidence");
    const char *text = text_of(e, "additional_evidence");
    binding_is(body, json_object_get(e, "primary_evidence"), text);
    assert_int_equal(prop_json_parse(text, strlen(text), "devices", &devices, NULL), 0);
    const json_t *device = json_object_get(devices, "sampledevice");
    assert_string_equal(text_of(device, "svn"), "2");
    binding_is(body, device, NULL);
    json_decref(devices);
    json_decref(body);
    /* Another wish is another session, and sends none. */
    assert_int_equal(get(*state, &sample, NULL), 0);
    assert_non_null(strstr(server.body[4], "\"additional_evidence\":\"\""));
}

static void test_hardware_that_is_not_there_sends_nothing(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    static const char *const init = "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n";
    const struct prop_kbs_attest how[] = { { .tee = PROP_TEE_SNP, .init_data = init },
                                           { .tee = PROP_TEE_TDX, .init_data = init },
                                           { .tee = PROP_TEE_SNP, .init_data = "junk" } };
    if (access("/dev/sev-guest", F_OK) == 0 || access("/dev/tdx_guest", F_OK) == 0)
        skip();
    for (size_t i = 0; i < PROP_ARRAY_LEN(how); i++)
        assert_true(get(*state, &how[i], &err) < 0);
    assert_int_equal(server.n, 0); /* the launch is asked before anybody is spoken to */
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
        cmocka_unit_test_setup_teardown(test_tokens_outlive_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_living_session_shows_its_cookie, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_over_is_not_tried, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_token_that_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections_that_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_kind_of_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_fresh, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_sample_device, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hardware_that_is_not_there_sends_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures_leave_no_session, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reference_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attestation_policy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_health, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
