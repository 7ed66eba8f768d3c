/* Calling key providers: the configuration, programs, and gRPC between our own two ends. */
#include "keyprovider/address.h"
#include "keyprovider/keyprovider.h"
#include "keyprovider/program.h"
#include "keyprovider/remote.h"
#include "keyprovider/status.h"
#include "util/stop.h"

#include "tests/unit/support.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG 300000 /* a time limit that no test reaches */

static char dir[256];

static const char *in_dir(const char *name)
{
    static char path[4][512];
    static unsigned next;
    char *p = path[next++ % 4];
    (void)snprintf(p, 512, "%s/%s", dir, name);
    return p;
}

static struct prop_kp_config *config_of(const char *json)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kp_config *c = NULL;
    const char *path = in_dir("config.json");
    OK(prop_file_write(path, json, strlen(json), 0600, true, &err));
    OK(prop_kp_config_load(path, &c, &err));
    return c;
}

/* --- configuration --- */

static void configurations(void **state)
{
    static const char *const bad[] = { "", "{", "[]", "{\"key-providers\":[]}" };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_kp_config *c = NULL;
    const char *path = in_dir("bad.json");
    (void)state;
    assert_int_equal(unsetenv("OCICRYPT_KEYPROVIDER_CONFIG"), 0);
    OK(prop_kp_config_load(NULL, &c, &err));
    assert_false(prop_kp_config_has(c, "toy"));
    prop_kp_config_free(c);
    c = NULL;
    FAILS(prop_kp_config_load(in_dir("none.json"), &c, &err), PROP_E_NOTFOUND, "not-found");
    for (size_t i = 0; i < PROP_ARRAY_LEN(bad); i++) {
        OK(prop_file_write(path, bad[i], strlen(bad[i]), 0600, true, &err));
        FAILS(prop_kp_config_load(path, &c, &err), PROP_E_INPUT, "keyprovider-config");
        assert_null(c);
    }
    c = config_of("{}");
    assert_false(prop_kp_config_has(c, "toy"));
    prop_kp_config_free(c);
    c = NULL;
    assert_int_equal(setenv("OCICRYPT_KEYPROVIDER_CONFIG",
                            vector_path("ocicrypt/20-keyprovider-cmd/ocicrypt.conf", (char[512]){ 0 }),
                            1), 0);
    OK(prop_kp_config_load(NULL, &c, &err));
    assert_true(prop_kp_config_has(c, "toy"));
    assert_false(prop_kp_config_has(c, "tox"));
    prop_kp_config_free(c);
    assert_int_equal(unsetenv("OCICRYPT_KEYPROVIDER_CONFIG"), 0);
}

static void entries(void **state)
{
    static const struct {
        const char *name;
        enum prop_code code;
        const char *id;
    } want[] = {
        { "nobody", PROP_E_NOTFOUND, "no-such-provider" },
        { "ttrpc", PROP_E_UNSUPPORTED, "provider-kind" },
        { "native", PROP_E_UNSUPPORTED, "provider-kind" },
        { "tls", PROP_E_UNSUPPORTED, "provider-tls" },
        { "empty", PROP_E_INPUT, "keyprovider-config" },
        { "nopath", PROP_E_INPUT, "keyprovider-config" },
        { "args", PROP_E_INPUT, "keyprovider-config" },
        { "missing", PROP_E_NOTFOUND, "provider-missing" },
        { "abroad", PROP_E_DENIED, "provider-plain" },
        { "target", PROP_E_INPUT, "keyprovider-config" },
        { "nosock", PROP_E_NETWORK, "provider-unreachable" },
        { "closed", PROP_E_NETWORK, "provider-unreachable" },
    };
    struct prop_err err = PROP_ERR_INIT;
    (void)state;
    struct prop_kp_config *c = config_of(
        "{\"key-providers\":{"
        "\"ttrpc\":{\"ttrpc\":\"unix:///run/x.sock\"},\"native\":{\"native\":\"attestation-agent\"},"
        "\"tls\":{\"grpc\":\"127.0.0.1:1\",\"grpc-tls\":{}},\"empty\":{},\"nopath\":{\"cmd\":{}},"
        "\"args\":{\"cmd\":{\"path\":\"true\",\"args\":[1]}},"
        "\"missing\":{\"cmd\":{\"path\":\"/nowhere/at/all\"}},"
        "\"abroad\":{\"grpc\":\"192.0.2.1:50000\"},\"target\":{\"grpc\":\"not a target\"},"
        "\"nosock\":{\"grpc\":\"unix:///nowhere/at/all.sock\"},"
        "\"closed\":{\"grpc\":\"http://127.0.0.1:1\"}}}");
    struct prop_secret *privopts = secret_text("{}");
    for (size_t i = 0; i < PROP_ARRAY_LEN(want); i++) {
        prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1 << 20);
        FAILS(prop_kp_wrap(c, want[i].name, NULL, 0, privopts, &out, &err), want[i].code, want[i].id);
        assert_int_equal(out.len, 0);
        if (i > 0)
            assert_non_null(strstr(err.message, want[i].name));
    }
    prop_secret_free(privopts);
    prop_kp_config_free(c);
}

/* --- programs --- */

static int run(const char *script, const struct prop_secret *in, uint64_t ms,
               struct prop_secret **ret, struct prop_err *err)
{
    const char *const argv[] = { "sh", "-c", script, NULL };
    return prop_kp_program_run(argv, in, ms, ret, err);
}

static void programs(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *in = secret_text("request"), *out = NULL;
    (void)state;
    OK(run("printf '<'; cat; printf '>'", in, LONG, &out, &err));
    assert_secret_is(out, "<request>", 9);
    prop_secret_free(out);
    out = NULL;
    OK(run("exec true", in, LONG, &out, &err));
    assert_int_equal(prop_secret_len(out), 0);
    prop_secret_free(out);
    out = NULL;
    FAILS(run("echo half; echo 'the card is \033[1m locked' >&2; exit 3", in, LONG, &out, &err),
          PROP_E_REMOTE, "provider-failed");
    assert_non_null(strstr(err.message, "exit 3: the card is \\x1b[1m locked"));
    FAILS(run("kill -9 $$", in, LONG, &out, &err), PROP_E_REMOTE, "provider-failed");
    assert_non_null(strstr(err.message, "signal 9"));
    FAILS(run("head -c 5000000 /dev/zero", in, LONG, &out, &err), PROP_E_REMOTE, "provider-failed");
    FAILS(run("head -c 5000000 /dev/zero >&2; exit 1", in, LONG, &out, &err), PROP_E_REMOTE,
          "provider-failed");
    FAILS(run("exec sleep 1000", in, 200, &out, &err), PROP_E_NETWORK, "provider-timeout");
    FAILS(run("cat >/dev/null; exec sleep 1000 >&- 2>&-", in, 200, &out, &err), PROP_E_NETWORK,
          "provider-timeout");
    assert_null(out);
    prop_secret_free(in);
}

/* A long request to one that reads none of it, or reads while it writes; SIGPIPE at its default. */
static void long_requests(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *in = NULL, *out = NULL;
    (void)state;
    OK(prop_secret_new(3u << 20, &in, &err));
    memset(prop_secret_bytes(in), 'x', 3u << 20);
    (void)signal(SIGPIPE, SIG_DFL);
    OK(run("exec 0<&-; echo ok", in, LONG, &out, &err));
    assert_secret_is(out, "ok\n", 3);
    prop_secret_free(out);
    out = NULL;
    OK(run("cat", in, LONG, &out, &err));
    assert_true(prop_secret_equal(in, out));
    prop_secret_free(out);
    prop_secret_free(in);
}

/* The child has three descriptors, SIGPIPE as usual, and no child of its own is waited for. */
static void surroundings(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *in = secret_text(""), *out = NULL;
    (void)state;
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, on purpose */
    assert_true(leak > 2);
    assert_true(leak < 10);
    OK(run("for f in 3 4 5 6 7 8 9; do (eval \": <&$f\") 2>&- && echo $f; done; true", in, LONG, &out,
           &err));
    assert_int_equal(prop_secret_len(out), 0);
    prop_secret_free(out);
    out = NULL;
    assert_int_equal(close(leak), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    OK(run("grep SigIgn /proc/self/status | tr -d '\\t'", in, LONG, &out, &err));
    /* bit 12 is SIGPIPE */
    unsigned long long ignored = strtoull((const char *)prop_secret_data(out) + 7, NULL, 16);
    assert_false(ignored & 0x1000);
    prop_secret_free(out);
    out = NULL;
    OK(run("sleep 300 & echo $!", in, LONG, &out, &err));
    pid_t grandchild = (pid_t)strtol((const char *)prop_secret_data(out), NULL, 10);
    assert_int_equal(kill(grandchild, SIGKILL), 0);
    prop_secret_free(out);
    prop_secret_free(in);
}

static void through_a_program(void **state)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1 << 20);
    struct prop_secret *privopts = secret_text("{\"symkey\":1}"), *back = NULL;
    static const char *const params[] = { "p:1", "two" };
    (void)state;
    struct prop_kp_config *c = config_of(
        "{\"key-providers\":{"
        "\"good\":{\"grpc\":\"127.0.0.1:1\",\"cmd\":{\"path\":\"sh\",\"args\":[\"-c\",\"grep -q "
        "'\\\"good\\\":..cDox.,.dHdv.' && echo '{\\\"keywrapresults\\\":{\\\"annotation\\\":[65,66]},"
        "\\\"keyunwrapresults\\\":{\\\"optsdata\\\":\\\"Qw==\\\"}}'\"]}},"
        "\"mute\":{\"cmd\":{\"path\":\"true\",\"args\":null}},"
        "\"none\":{\"cmd\":{\"path\":\"sh\",\"args\":[\"-c\","
        "\"echo '{\\\"keywrapresults\\\":{\\\"annotation\\\":[]}}'\"]}}}}");
    OK(prop_kp_wrap(c, "good", params, 2, privopts, &out, &err));
    assert_int_equal(out.len, 2);
    assert_string_equal(prop_buf_str(&out), "AB");
    OK(prop_kp_unwrap(c, "good", params, 2, "AB", 2, &back, &err));
    assert_secret_is(back, "C", 1);
    prop_secret_free(back);
    FAILS(prop_kp_wrap(c, "mute", params, 2, privopts, &out, &err), PROP_E_REMOTE, "provider-failed");
    FAILS(prop_kp_wrap(c, "none", params, 2, privopts, &out, &err), PROP_E_REMOTE, "provider-failed");
    assert_int_equal(out.len, 2);
    prop_secret_free(privopts);
    prop_kp_config_free(c);
}

/* --- gRPC --- */

static int xor_wrap(void *ctx, const char *const *params, size_t n, const struct prop_secret *privopts,
                    struct prop_buf *out, struct prop_err *err)
{
    const uint8_t *p = prop_secret_data(privopts);
    int rc = 0;
    (void)ctx;
    if (n == 1 && strcmp(params[0], "fail") == 0)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "lost", "50%% lost\xc3\xa9");
    for (size_t i = 0; rc == 0 && i < prop_secret_len(privopts); i++) {
        uint8_t c = p[i] ^ 0x5a;
        rc = prop_buf_add(out, &c, 1, err);
    }
    return rc;
}

static int xor_unwrap(void *ctx, const char *const *params, size_t n, const void *annotation,
                      size_t len, struct prop_secret **ret, struct prop_err *err)
{
    (void)ctx;
    (void)params;
    (void)n;
    int rc = prop_secret_copy(annotation, len, ret, err);
    for (size_t i = 0; rc == 0 && i < len; i++)
        prop_secret_bytes(*ret)[i] ^= 0x5a;
    return rc;
}

static void tell(void *ctx, const char *address)
{
    assert_int_equal(prop_write_all(*(int *)ctx, address, strlen(address) + 1), 0);
    assert_int_equal(close(*(int *)ctx), 0);
}

static void on_term(int number)
{
    prop_stop_request(number);
}

/* A server of its own process; `address` gets where it is. */
static pid_t start_server(const char *listen, char address[256])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct prop_err err = PROP_ERR_INIT;
        const struct prop_kp_provider p = { "toy", xor_wrap, xor_unwrap, NULL };
        const struct prop_kp_serve s = { .listen = listen, .provider = &p, .ready = tell,
                                         .ctx = &ends[1] };
        struct sigaction sa = { .sa_handler = on_term };
        (void)sigaction(SIGTERM, &sa, NULL);
        (void)close(ends[0]);
        _exit(prop_kp_serve(&s, &err) == 0 ? 0 : 1);
    }
    (void)close(ends[1]);
    ssize_t n, used = 0;
    while ((n = read(ends[0], address + used, 255 - (size_t)used)) > 0)
        used += n;
    address[used] = 0;
    (void)close(ends[0]);
    assert_true(used > 0);
    return pid;
}

static void stop_server(pid_t pid)
{
    int status = 0;
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void both_ways(const char *target)
{
    static const size_t sizes[] = { 1, 193, 16384, 200000 }; /* past a frame, past a window */
    struct prop_err err = PROP_ERR_INIT;
    char json[512];
    (void)snprintf(json, sizeof json, "{\"key-providers\":{\"toy\":{\"grpc\":\"%s\"}}}", target);
    struct prop_kp_config *c = config_of(json);
    for (size_t i = 0; i < PROP_ARRAY_LEN(sizes); i++) {
        prop_auto_buf struct prop_buf wrapped = PROP_BUF_INIT(1 << 20);
        struct prop_secret *privopts = NULL, *back = NULL;
        OK(prop_secret_new(sizes[i], &privopts, &err));
        memset(prop_secret_bytes(privopts), '{', sizes[i]);
        OK(prop_kp_wrap(c, "toy", NULL, 0, privopts, &wrapped, &err));
        assert_int_equal(wrapped.len, sizes[i]);
        assert_int_equal(wrapped.data[0], '{' ^ 0x5a);
        OK(prop_kp_unwrap(c, "toy", NULL, 0, wrapped.data, wrapped.len, &back, &err));
        assert_true(prop_secret_equal(back, privopts));
        prop_secret_free(privopts);
        prop_secret_free(back);
    }
    static const char *const fail[] = { "fail" };
    struct prop_secret *privopts = secret_text("{}");
    prop_auto_buf struct prop_buf out = PROP_BUF_INIT(1 << 20);
    FAILS(prop_kp_wrap(c, "toy", fail, 1, privopts, &out, &err), PROP_E_REMOTE, "provider-failed");
    assert_non_null(strstr(err.message, "NOT_FOUND (5): 50% lost\xc3\xa9"));
    prop_secret_free(privopts);
    prop_kp_config_free(c);
}

static void over_tcp(void **state)
{
    char address[256], target[300];
    static const char *const forms[] = { "%s", "dns:///%s", "http://%s", "tcp://%s", "dns:%s" };
    (void)state;
    pid_t pid = start_server("127.0.0.1:0", address);
    assert_true(strncmp(address, "127.0.0.1:", 10) == 0 && strcmp(address + 10, "0") != 0);
    for (size_t i = 0; i < PROP_ARRAY_LEN(forms); i++) {
        const char *mark = strstr(forms[i], "%s");
        (void)snprintf(target, sizeof target, "%.*s%s", (int)(mark - forms[i]), forms[i], address);
        both_ways(target);
    }
    stop_server(pid);
}

static void over_unix(void **state)
{
    char address[256], path[512], where[600], target[600];
    struct stat st;
    (void)state;
    (void)snprintf(path, sizeof path, "%s", in_dir("kp.sock"));
    (void)snprintf(where, sizeof where, "unix:%s", path);
    for (int round = 0; round < 2; round++) {
        pid_t pid = start_server(where, address);
        assert_string_equal(address, where);
        assert_int_equal(stat(path, &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 0777, 0600);
        both_ways(where);
        (void)snprintf(target, sizeof target, "unix://%s", path);
        both_ways(target);
        if (round == 0) { /* what a killed one leaves behind is replaced */
            assert_int_equal(kill(pid, SIGKILL), 0);
            assert_int_equal(waitpid(pid, NULL, 0), pid);
            assert_int_equal(stat(path, &st), 0);
        } else {
            stop_server(pid);
            assert_int_not_equal(stat(path, &st), 0);
        }
    }
}

static void where_to_listen(void **state)
{
    static const char *const abroad[] = { "0.0.0.0:0", "192.0.2.1:50000", "[::]:0", "[2001:db8::1]:1" };
    static const char *const wrong[] = { "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", ":80",
                                         "127.0.0.1:x", "::1:80", "[::1:80", "unix:", "a b:1",
                                         "http://127.0.0.1:1" };
    struct prop_err err = PROP_ERR_INIT;
    struct stat st;
    char *address = NULL, *path = NULL;
    int fd = -1;
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(abroad); i++)
        FAILS(prop_kp_listen(abroad[i], &fd, &address, &path, &err), PROP_E_USAGE,
              "listen-not-loopback");
    for (size_t i = 0; i < PROP_ARRAY_LEN(wrong); i++)
        FAILS(prop_kp_listen(wrong[i], &fd, &address, &path, &err), PROP_E_USAGE, "listen");
    /* a file in the way, and a live server's socket, stay */
    const char *file = in_dir("file");
    char where[600];
    OK(prop_file_write(file, "x", 1, 0600, true, &err));
    (void)snprintf(where, sizeof where, "unix:%s", file);
    FAILS(prop_kp_listen(where, &fd, &address, &path, &err), PROP_E_NETWORK, "listen");
    assert_int_equal(stat(file, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    (void)snprintf(where, sizeof where, "unix:%s", in_dir("live.sock"));
    OK(prop_kp_listen(where, &fd, &address, &path, &err));
    int other = -1;
    char *other_address = NULL, *other_path = NULL;
    FAILS(prop_kp_listen(where, &other, &other_address, &other_path, &err), PROP_E_NETWORK, "listen");
    assert_int_equal(stat(path, &st), 0);
    /* nor is one waited for that has no room left */
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    (void)snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    assert_int_equal(listen(fd, 0), 0);
    int waiting[4];
    bool full = false;
    for (size_t i = 0; i < PROP_ARRAY_LEN(waiting); i++) {
        waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        full = connect(waiting[i], (const void *)&sa, sizeof sa) != 0;
    }
    assert_true(full);
    FAILS(prop_kp_listen(where, &other, &other_address, &other_path, &err), PROP_E_NETWORK, "listen");
    assert_int_equal(stat(path, &st), 0);
    for (size_t i = 0; i < PROP_ARRAY_LEN(waiting); i++)
        assert_int_equal(close(waiting[i]), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(close(fd), 0);
    prop_free(address);
    prop_free(path);
}

/* Servers that are none: what they say is sent, then the connection is closed or kept. */
static void foreign_servers(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool keep;
        const char *id;
    } servers[] = {
        { "", 0, false, "provider-unreachable" },
        { "HTTP/1.1 400 Bad Request\r\n\r\n", 28, false, "provider-unreachable" },
        { "HTTP/1.1 400 Bad Request\r\n\r\n", 28, true, "provider-unreachable" },
        { "\0\0\0\4\0\0\0\0\0", 9, false, "provider-unreachable" }, /* SETTINGS and gone */
        { "\0\0\0\4\0\0\0\0\0", 9, true, "provider-timeout" },
        { "", 0, true, "provider-timeout" },
    };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *request = secret_text("{}"), *out = NULL;
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(servers); i++) {
        char *address = NULL, *path = NULL;
        int fd = -1;
        OK(prop_kp_listen("127.0.0.1:0", &fd, &address, &path, &err));
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)fcntl(fd, F_SETFL, 0);
            int c = accept(fd, NULL, NULL);
            char drain[4096];
            (void)!read(c, drain, 1); /* its preface has come */
            (void)!write(c, servers[i].bytes, servers[i].len);
            if (!servers[i].keep)
                (void)shutdown(c, SHUT_WR);
            while (read(c, drain, sizeof drain) > 0)
                ;
            _exit(0);
        }
        assert_int_equal(close(fd), 0);
        FAILS(prop_kp_remote_call(address, PROP_KP_WRAP, request, servers[i].keep ? 400 : LONG, &out,
                                  &err), PROP_E_NETWORK, servers[i].id);
        assert_null(out);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        prop_free(address);
    }
    prop_secret_free(request);
}

static void messages_of_status(void **state)
{
    char text[64];
    (void)state;
    prop_kp_status_encode("100% \"sure\"\n\xc3\xa9", text, sizeof text);
    assert_string_equal(text, "100%25 \"sure\"%0A%C3%A9");
    prop_kp_status_encode("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%%%%%%%%%%%%%%%%%%%%", text, sizeof text);
    assert_true(strlen(text) < sizeof text && strlen(text) > 50);
    prop_kp_status_decode("a%20b%0a%zz%C3%A9%4", 19, text, sizeof text);
    assert_string_equal(text, "a b\\x0a%zz\xc3\xa9%4");
    assert_string_equal(prop_kp_status_name(7), "PERMISSION_DENIED");
    assert_string_equal(prop_kp_status_name(99), "status");
    assert_int_equal(prop_kp_status_of(PROP_E_DENIED), PROP_KP_STATUS_PERMISSION_DENIED);
}

static int make_dir(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(dir, sizeof dir, "%s/prop-kp-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = { "config.json", "bad.json", "file", "kp.sock" };
    (void)state;
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++)
        (void)unlink(in_dir(names[i]));
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations), cmocka_unit_test(entries),
        cmocka_unit_test(programs),       cmocka_unit_test(long_requests),
        cmocka_unit_test(surroundings),   cmocka_unit_test(through_a_program),
        cmocka_unit_test(over_tcp),       cmocka_unit_test(over_unix),
        cmocka_unit_test(where_to_listen), cmocka_unit_test(foreign_servers),
        cmocka_unit_test(messages_of_status),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
