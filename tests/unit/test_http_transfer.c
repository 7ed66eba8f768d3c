/* Requests against a scripted server: one thread, one canned answer per request, everything it was
 * sent kept for the assertions. */
#include "tests/unit/support.h"

#include "http/http.h"
#include "util/limits.h"
#include "util/stop.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define SCRIPT_MAX 16

struct step {
    const char *answer; /* NULL = close without a word */
    size_t len;         /* 0 = strlen */
    bool keep;          /* keep the connection for the next step */
    bool early;         /* answer after the headers, before the body */
};

static struct {
    int fd;
    unsigned port;
    pthread_t thread;
    struct step steps[SCRIPT_MAX];
    size_t n_steps, done;
    char seen[SCRIPT_MAX][4096];
    size_t body_bytes[SCRIPT_MAX];
} server;

/* Bytes of the body that followed the headers in `buf`, and the rest from the socket. */
static size_t read_body(int fd, const char *headers, size_t have)
{
    const char *length = strcasestr(headers, "\r\nContent-Length: ");
    char piece[65536], tail[8] = "";
    size_t got = have, want;
    ssize_t n;

    if (length != NULL) {
        want = strtoul(length + 18, NULL, 10);
        while (got < want && (n = read(fd, piece, sizeof(piece))) > 0)
            got += (size_t)n;
        return got;
    }
    if (strcasestr(headers, "\r\nTransfer-Encoding: chunked") == NULL)
        return got;
    if (have >= 5)
        memcpy(tail, strstr(headers, "\r\n\r\n") + 4 + have - 5, 5);
    while (memcmp(tail, "0\r\n\r\n", 5) != 0 && (n = read(fd, piece, sizeof(piece))) > 0) {
        got += (size_t)n;
        for (ssize_t i = n < 5 ? 0 : n - 5; i < n; i++) {
            memmove(tail, tail + 1, 4);
            tail[4] = piece[i];
        }
    }
    return got;
}

static bool read_headers(int fd, char *out, size_t size, size_t *ret_extra)
{
    size_t len = 0;
    const char *end;

    while (len + 1 < size) {
        ssize_t n = read(fd, out + len, size - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        out[len] = '\0';
        end = strstr(out, "\r\n\r\n");
        if (end != NULL) {
            *ret_extra = len - (size_t)(end + 4 - out);
            return true;
        }
    }
    return false;
}

static void serve_step(int fd, size_t i, size_t extra)
{
    const struct step *s = &server.steps[i];

    if (!s->early)
        server.body_bytes[i] = read_body(fd, server.seen[i], extra);
    if (s->answer != NULL) {
        size_t len = s->len > 0 ? s->len : strlen(s->answer);
        (void)!write(fd, s->answer, len);
    }
}

static void *serve(void *unused)
{
    (void)unused;
    while (server.done < server.n_steps) {
        int fd = accept(server.fd, NULL, NULL);
        bool keep = true;
        if (fd < 0)
            break;
        while (keep && server.done < server.n_steps) {
            size_t i = server.done, extra = 0;
            if (!read_headers(fd, server.seen[i], sizeof(server.seen[i]), &extra))
                break;
            keep = server.steps[i].keep;
            server.done++;
            serve_step(fd, i, extra);
        }
        (void)shutdown(fd, SHUT_WR);
        if (!keep) {
            char rest[65536];
            while (read(fd, rest, sizeof(rest)) > 0)
                ;
        }
        (void)close(fd);
    }
    return NULL;
}

static void start(const struct step *steps, size_t n)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);

    memset(&server, 0, sizeof(server));
    memcpy(server.steps, steps, n * sizeof(*steps));
    server.n_steps = n;
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(server.fd, 8), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&a, &len), 0);
    server.port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
}

static void stop(void)
{
    (void)shutdown(server.fd, SHUT_RDWR);
    assert_int_equal(pthread_join(server.thread, NULL), 0);
    (void)close(server.fd);
}

static char url[200];

static const char *at(const char *path)
{
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", server.port, path);
    return url;
}

static struct prop_http *open_http(unsigned retries, uint64_t stall_ms)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_http_config c = { .max_retries = retries, .stall_timeout_ms = stall_ms };
    struct prop_http *h = NULL;
    OK(prop_http_new(&c, &h, &err));
    return h;
}

/* The server closes after each answer unless a step says keep. A body that is streamed cannot be sent
 * again on another connection, so there the answer has to say that this one ends. */
#define OK_CLOSE "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: a \r\nx-one:b\r\n\r\nhello"

static void test_get(void **state)
{
    (void)state;
    static const struct step steps[] = { { .answer = OK_HELLO, .keep = true },
                                         { .answer = OK_HELLO } };
    static const char *const headers[] = { "Accept: x/y", NULL };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start(steps, 2);
    struct prop_http *h = open_http(0, 0);
    prop_auto_secret struct prop_secret *auth = secret_text("Bearer abc");
    struct prop_http_request rq = { .method = "GET", .url = at("/a?b=c"), .headers = headers,
                                    .authorization = auth, .max_body = 5 };
    OK(prop_http_do(h, &rq, &a, &err));
    assert_int_equal(a.status, 200);
    assert_string_equal(prop_buf_str(&a.body), "hello");
    assert_string_equal(prop_http_header(&a, "x-one", 0), "a");
    assert_string_equal(prop_http_header(&a, "x-one", 1), "b");
    assert_null(prop_http_header(&a, "x-one", 2));
    assert_string_equal(a.effective_url, rq.url);
    /* the connection is used again; an answer over the maximum is refused */
    rq.max_body = 4;
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_LIMIT, "body-too-large");
    assert_string_equal(prop_buf_str(&a.body), "hello"); /* untouched */
    prop_http_free(h);
    stop();
    assert_int_equal(server.done, 2);
    assert_non_null(strstr(server.seen[0], "GET /a?b=c HTTP/1.1\r\n"));
    assert_non_null(strstr(server.seen[0], "Authorization: Bearer abc\r\n"));
    assert_non_null(strstr(server.seen[0], "Accept: x/y\r\n"));
    assert_non_null(strstr(server.seen[0], "User-Agent: prop/"));
}

static void test_bodies(void **state)
{
    (void)state;
    static const struct step steps[] = {
        { .answer = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", .keep = true },
        { .answer = "HTTP/1.1 204 No Content\r\n\r\n", .keep = true },
        { .answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
          .keep = true },
        { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start(steps, 4);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "PUT", .url = at("/"), .body = "abc", .body_len = 3 };
    OK(prop_http_do(h, &rq, &a, &err));
    assert_int_equal(a.status, 201);
    rq = (struct prop_http_request){ .method = "POST", .url = url };
    OK(prop_http_do(h, &rq, &a, &err));
    assert_int_equal(a.status, 204);
    rq.method = "DELETE";
    OK(prop_http_do(h, &rq, &a, &err));
    assert_string_equal(prop_buf_str(&a.body), "ok");
    rq.method = "HEAD";
    OK(prop_http_do(h, &rq, &a, &err));
    assert_string_equal(prop_http_header(&a, "content-length", 0), "9");
    assert_int_equal(a.body.len, 0);
    prop_http_free(h);
    stop();
    assert_non_null(strstr(server.seen[0], "PUT / HTTP/1.1\r\n"));
    assert_non_null(strstr(server.seen[0], "Content-Length: 3\r\n"));
    assert_non_null(strstr(server.seen[0], "\r\n\r\nabc"));
    assert_null(strcasestr(server.seen[0], "Content-Type"));
    assert_non_null(strstr(server.seen[1], "Content-Length: 0\r\n"));
    assert_null(strcasestr(server.seen[2], "Content-Length"));
    assert_non_null(strstr(server.seen[3], "HEAD / "));
}

static void test_retries(void **state)
{
    (void)state;
    static const struct step steps[] = {
        { .answer = "HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 1\r\n\r\nx" },
        { .answer = NULL },
        { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal" },
        { .answer = OK_HELLO },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start(steps, 4);
    struct prop_http *h = open_http(3, 0);
    struct prop_http_request rq = { .method = "GET", .url = at("/"), .idempotent = true };
    OK(prop_http_do(h, &rq, &a, &err));
    assert_string_equal(prop_buf_str(&a.body), "hello");
    prop_http_free(h);
    stop();
    assert_int_equal(server.done, 4);
}

static void test_no_retry(void **state)
{
    (void)state;
    static const struct step steps[] = {
        { .answer = "HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nx" },
        { .answer = "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx" },
        { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal" },
        { .answer = NULL },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start(steps, 4);
    struct prop_http *h = open_http(3, 0);
    struct prop_http_request rq = { .method = "POST", .url = at("/") };
    OK(prop_http_do(h, &rq, &a, &err)); /* not idempotent */
    assert_int_equal(a.status, 503);
    rq = (struct prop_http_request){ .method = "GET", .url = url, .idempotent = true };
    OK(prop_http_do(h, &rq, &a, &err)); /* 404 means it */
    assert_int_equal(a.status, 404);
    rq.idempotent = false;
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_REMOTE, "truncated");
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_NETWORK, "reset");
    assert_non_null(strstr(err.message, "GET http://127.0.0.1"));
    prop_http_free(h);
    stop();
    assert_int_equal(server.done, 4);
}

struct sunk {
    char text[64];
    size_t len, begun;
    int fail_at;
};

static int sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct sunk *s = ctx;
    assert_true(s->len + len < sizeof(s->text));
    memcpy(s->text + s->len, data, len);
    s->len += len;
    if (s->fail_at > 0 && s->len >= (size_t)s->fail_at)
        return prop_err_set_id(err, PROP_E_VERIFY, "mine", "no more");
    return 0;
}

static int begin(void *ctx, const struct prop_http_answer *head, struct prop_err *err)
{
    struct sunk *s = ctx;
    s->begun++;
    if (prop_http_header(head, "x-bad", 0) != NULL)
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-head", "not this one");
    return 0;
}

static void test_sinks(void **state)
{
    (void)state;
    static const struct step steps[] = {
        { .answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n"
                    "\r\n" },
        { .answer = OK_HELLO },
        { .answer = "HTTP/1.1 200 OK\r\nX-Bad: 1\r\nContent-Length: 1\r\n\r\nx" },
        { .answer = "HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nwords" },
        { .answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct sunk s = { .len = 0 };
    start(steps, 5);
    struct prop_http *h = open_http(3, 0);
    struct prop_http_request rq = { .method = "GET", .url = at("/"), .sink = sink, .sink_ctx = &s,
                                    .begin = begin, .idempotent = true };
    OK(prop_http_do(h, &rq, &a, &err));
    assert_string_equal(s.text, "abcde");
    assert_int_equal(s.begun, 1);
    s = (struct sunk){ .fail_at = 1 };
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_VERIFY, "mine");
    s = (struct sunk){ .len = 0 };
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_REMOTE, "bad-head");
    assert_int_equal(s.len, 0);
    OK(prop_http_do(h, &rq, &a, &err));
    assert_int_equal(a.status, 404);
    assert_string_equal(prop_buf_str(&a.body), "words");
    assert_int_equal(s.len, 0);
    /* bytes went into the sink, so it is not asked for again by itself */
    assert_true(prop_http_do(h, &rq, &a, &err) < 0);
    prop_http_free(h);
    stop();
    assert_int_equal(server.done, 5);
}

static void test_error_page_is_cut(void **state)
{
    (void)state;
    static char page[300000];
    int head = snprintf(page, sizeof(page),
                        "HTTP/1.1 500 No\r\nContent-Length: 250000\r\n\r\n");
    memset(page + head, 'e', 250000);
    const struct step steps[] = { { .answer = page, .len = (size_t)head + 250000 } };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start(steps, 1);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "GET", .url = at("/") };
    OK(prop_http_do(h, &rq, &a, &err));
    assert_int_equal(a.status, 500);
    assert_int_equal(a.body.len, PROP_LIMIT_ERROR_BODY);
    prop_http_free(h);
    stop();
}

static void test_bad_answers(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "hello\r\n\r\n", "HTTP/1.1 xxx\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 200 OK\r\nX",
    };
    struct prop_err err = PROP_ERR_INIT;
    for (size_t i = 0; i < PROP_ARRAY_LEN(answers); i++) {
        const struct step steps[] = { { .answer = answers[i] } };
        struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
        start(steps, 1);
        struct prop_http *h = open_http(0, 2000);
        struct prop_http_request rq = { .method = "GET", .url = at("/") };
        prop_err_clear(&err);
        int rc = prop_http_do(h, &rq, &a, &err);
        if (rc != PROP_E_REMOTE && rc != PROP_E_NETWORK)
            print_error("%s gives %d\n", answers[i], rc);
        assert_true(rc == PROP_E_REMOTE || rc == PROP_E_NETWORK);
        assert_null(a.effective_url);
        prop_http_free(h);
        stop();
    }
}

static void test_stall(void **state)
{
    (void)state;
    static const struct step steps[] = {
        { .answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", .keep = true },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start((const struct step[]){ steps[0], steps[0] }, 2); /* the second keeps it open */
    struct prop_http *h = open_http(3, 100);
    struct prop_http_request rq = { .method = "GET", .url = at("/"), .idempotent = true };
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_NETWORK, "timeout");
    prop_http_free(h);
    stop();
}

static int64_t read_three(void *ctx, void *out, size_t size, struct prop_err *err)
{
    unsigned *left = ctx;
    (void)err;
    if (*left == 0)
        return 0;
    (*left)--;
    assert_true(size >= 4);
    memcpy(out, "abcd", 4);
    return 4;
}

static int64_t read_fails(void *ctx, void *out, size_t size, struct prop_err *err)
{
    (void)ctx;
    (void)out;
    (void)size;
    (void)prop_err_set_id(err, PROP_E_IO, "mine", "disk gone");
    return -1;
}

static void test_read_bodies(void **state)
{
    (void)state;
    static const struct step steps[] = { { .answer = OK_CLOSE }, { .answer = OK_CLOSE },
                                         { .answer = OK_CLOSE } };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    unsigned left = 3;
    start(steps, 3);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "PATCH", .url = at("/"), .body_read = read_three,
                                    .body_ctx = &left, .body_total = 12 };
    OK(prop_http_do(h, &rq, &a, &err));
    left = 3;
    rq.body_total = UINT64_MAX;
    OK(prop_http_do(h, &rq, &a, &err));
    rq.body_read = read_fails;
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_IO, "mine");
    prop_http_free(h);
    stop();
    assert_non_null(strstr(server.seen[0], "Content-Length: 12\r\n"));
    assert_int_equal(server.body_bytes[0], 12);
    assert_non_null(strstr(server.seen[1], "Transfer-Encoding: chunked\r\n"));
    assert_null(strstr(server.seen[1], "Expect"));
}

static void test_uploads(void **state)
{
    (void)state;
    static const struct step steps[] = { { .answer = OK_CLOSE }, { .answer = OK_CLOSE },
                                         { .answer = OK_CLOSE } };
    static uint8_t piece[100000];
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_http_upload *u = NULL;
    start(steps, 3);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "PATCH", .url = at("/"), .body_total = 1000000 };
    OK(prop_http_upload_begin(h, &rq, &u, &err));
    for (size_t i = 0; i < 10; i++)
        OK(prop_http_upload_write(u, piece, sizeof(piece), &err));
    assert_int_equal(prop_http_upload_write(u, piece, 1, &err), PROP_E_BUG);
    OK(prop_http_upload_finish(u, &a, &err));
    assert_string_equal(prop_buf_str(&a.body), "hello");
    rq.body_total = UINT64_MAX;
    OK(prop_http_upload_begin(h, &rq, &u, &err));
    for (size_t i = 0; i < 7; i++)
        OK(prop_http_upload_write(u, piece, sizeof(piece), &err));
    OK(prop_http_upload_finish(u, &a, &err));
    rq.body_total = 0;
    OK(prop_http_upload_begin(h, &rq, &u, &err));
    OK(prop_http_upload_finish(u, &a, &err));
    prop_http_upload_abort(NULL);
    prop_http_free(h);
    stop();
    assert_int_equal(server.body_bytes[0], 1000000);
    assert_true(server.body_bytes[1] > 700000);
    assert_int_equal(server.body_bytes[2], 0);
}

static void test_upload_refused_early(void **state)
{
    (void)state;
    static const struct step steps[] = {
        { .answer = "HTTP/1.1 413 Big\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
          .early = true },
    };
    static uint8_t piece[1 << 20];
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_http_upload *u = NULL;
    int rc = 0;
    start(steps, 1);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "PATCH", .url = at("/"), .body_total = 1ull << 40 };
    OK(prop_http_upload_begin(h, &rq, &u, &err));
    for (size_t i = 0; i < 4096 && rc == 0; i++)
        rc = prop_http_upload_write(u, piece, sizeof(piece), &err);
    assert_int_equal(rc, PROP_E_REMOTE);
    assert_string_equal(prop_err_id(&err), "early-answer");
    assert_int_equal(err.http_status, 413);
    OK(prop_http_upload_finish(u, &a, &err));
    assert_int_equal(a.status, 413);
    assert_string_equal(prop_buf_str(&a.body), "big");
    prop_http_free(h);
    stop();
}

static void test_upload_given_up(void **state)
{
    (void)state;
    static const struct step steps[] = { { .answer = NULL } };
    struct prop_err err = PROP_ERR_INIT;
    struct prop_http_upload *u = NULL;
    start(steps, 1);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "PATCH", .url = at("/"), .body_total = 100 };
    OK(prop_http_upload_begin(h, &rq, &u, &err));
    OK(prop_http_upload_write(u, "abc", 3, &err));
    prop_http_upload_abort(u);
    prop_http_free(h);
    stop();
}

static void test_redirect(void **state)
{
    (void)state;
    static const struct step steps[] = {
        { .answer = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
          .keep = true },
        { .answer = OK_HELLO },
        { .answer = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n" },
        { .answer = "HTTP/1.1 301 Found\r\nContent-Length: 0\r\n\r\n" },
    };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start(steps, 4);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "GET", .url = at("/a"), .follow = true };
    OK(prop_http_do(h, &rq, &a, &err));
    assert_true(prop_ends_with(a.effective_url, "/b"));
    rq.follow = false;
    OK(prop_http_do(h, &rq, &a, &err));
    assert_int_equal(a.status, 302);
    rq.follow = true;
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_REMOTE, "bad-location");
    prop_http_free(h);
    stop();
}

static void test_header_injection(void **state)
{
    (void)state;
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_secret struct prop_secret *broken = secret_text("Bearer a\r\nX: y");
    prop_auto_secret struct prop_secret *zero = secret_of("Bearer a\0b", 10);
    struct prop_http *h = open_http(0, 0);
    struct prop_http_request rq = { .method = "GET", .url = "http://127.0.0.1:1/",
                                    .authorization = broken };
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_INPUT, "bad-credentials");
    rq.authorization = zero;
    FAILS(prop_http_do(h, &rq, &a, &err), PROP_E_INPUT, "bad-credentials");
    prop_http_free(h);
}

/* Last: the flag stays up. */
static void test_stop_flag(void **state)
{
    (void)state;
    static const struct step steps[] = { { .answer = OK_HELLO } };
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    start(steps, 1);
    struct prop_http *h = open_http(3, 0);
    struct prop_http_request rq = { .method = "GET", .url = at("/"), .idempotent = true };
    prop_stop_request(SIGTERM);
    assert_int_equal(prop_http_do(h, &rq, &a, &err), PROP_E_INTERRUPTED);
    prop_http_free(h);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_retries),    cmocka_unit_test(test_no_retry),
        cmocka_unit_test(test_sinks),      cmocka_unit_test(test_error_page_is_cut),
        cmocka_unit_test(test_bad_answers), cmocka_unit_test(test_stall),
        cmocka_unit_test(test_read_bodies), cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_upload_refused_early), cmocka_unit_test(test_upload_given_up),
        cmocka_unit_test(test_redirect),   cmocka_unit_test(test_header_injection),
        cmocka_unit_test(test_stop_flag),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* the scripted server's; the tools ignore it too */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
