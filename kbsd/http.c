/* Glue between libmicrohttpd and the routes. One thread: the library's own polling is not used, the
 * caller drives it, so nothing here needs a lock. */
#include "kbsd/http.h"

#include "kbsd/inflate.h"
#include "kbsd/listen.h"
#include "kbsd/reply.h"
#include "kbsd/request.h"
#include "kbsd/route.h"
#include "kbsd/tls.h"
#include "util/limits.h"
#include "util/secret.h"
#include "util/text.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX (128u << 10)
#define MEMORY_PER_CONNECTION (512u << 10) /* above HEAD_MAX, so that we give the answer */
#define DRAIN_MAX (256u << 20)             /* of a body that is too large, before we hang up */
#define IDLE_S 120
#define CONNECTIONS_MAX 900 /* all descriptors must fit FD_SETSIZE */
#define TOO_BIG "payload reached size limit"

struct prop_kbsd_http {
    struct prop_kbsd *k;
    struct MHD_Daemon *daemon;
    struct prop_secret *tls_key; /* borrowed by the library while it runs */
    struct prop_buf tls_chain;
};

/* One request from its first line to the end of its answer. */
struct exchange {
    char *target;
    struct prop_kbsd_request *q;
    uint64_t body_bytes; /* seen, whether kept or not */
    bool keep, too_big, gzip, counted;
    double start_s;
};

static double clock_s(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *on_target(void *cls, const char *uri, struct MHD_Connection *c)
{
    struct exchange *x = prop_zalloc(sizeof(*x));

    (void)cls;
    (void)c;
    if (x == NULL)
        return NULL;
    x->target = prop_strdup(uri);
    x->start_s = clock_s();
    return x;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct prop_kbsd_http *h = cls;
    struct exchange *x = *con_cls;

    (void)c;
    (void)why;
    if (x == NULL)
        return;
    if (x->counted)
        h->k->metrics.active--;
    prop_kbsd_request_free(x->q);
    prop_free(x->target);
    prop_free(x);
    *con_cls = NULL;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct prop_kbsd_request *q = cls;

    (void)kind;
    if (value == NULL)
        return MHD_YES;
    if (strcasecmp(name, "Cookie") == 0)
        return prop_kbsd_request_add_cookies(q, value, NULL) == 0 ? MHD_YES : MHD_NO;
    if (strcasecmp(name, "Authorization") == 0 && q->authorization == NULL) {
        q->authorization = prop_strdup(value);
        return q->authorization != NULL ? MHD_YES : MHD_NO;
    }
    return MHD_YES;
}

static void log_answer(const struct prop_kbsd *k, const struct exchange *x,
                       const struct prop_kbsd_reply *r)
{
    char target[256];
    char line[1024];

    if (k->config->log == NULL)
        return;
    (void)prop_printable(x->target, strlen(x->target), target, sizeof(target));
    (void)snprintf(line, sizeof(line), "%s %s %u%s%s%s%s%s", x->q->method, target, r->status,
                   r->error_name != NULL ? " " : "", r->error_name != NULL ? r->error_name : "",
                   r->cause[0] != '\0' ? " (" : "", r->cause, r->cause[0] != '\0' ? ")" : "");
    k->config->log(k->config->log_ctx, r->drop ? 500 : r->status, line);
}

static enum MHD_Result send_reply(struct prop_kbsd_http *h, struct MHD_Connection *c,
                                  const struct exchange *x, const struct prop_kbsd_reply *r)
{
    log_answer(h->k, x, r);
    if (x->counted) {
        prop_kbsd_observe(&h->k->metrics, PROP_KBSD_REQUEST_SECONDS, clock_s() - x->start_s);
        prop_kbsd_observe(&h->k->metrics, PROP_KBSD_RESPONSE_BYTES, (double)r->body.len);
    }
    if (r->drop)
        return MHD_NO;
    struct MHD_Response *out = MHD_create_response_from_buffer(r->body.len, r->body.data,
                                                               MHD_RESPMEM_MUST_COPY);
    if (out == NULL)
        return MHD_NO;
    enum MHD_Result ok = MHD_YES;
    if (r->content_type != NULL)
        ok = MHD_add_response_header(out, "Content-Type", r->content_type);
    if (ok == MHD_YES && r->allow != NULL)
        ok = MHD_add_response_header(out, "Allow", r->allow);
    if (ok == MHD_YES && r->cookie != NULL)
        ok = MHD_add_response_header(out, "Set-Cookie", r->cookie);
    if (ok == MHD_YES)
        ok = MHD_queue_response(c, r->status, out);
    MHD_destroy_response(out);
    return ok;
}

static const char *header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

/* The head is complete: take it, and refuse right away what cannot become better. */
static enum MHD_Result begin(struct prop_kbsd_http *h, struct MHD_Connection *c,
                             struct exchange *x, const char *method)
{
    prop_auto_kbsd_reply struct prop_kbsd_reply r;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *length = header(c, "Content-Length");
    uint64_t declared = 0;

    prop_kbsd_reply_init(&r);
    if (x->target == NULL ||
        prop_kbsd_request_new(method, x->target, PROP_LIMIT_KBS_BODY, &x->q, NULL) != 0 ||
        MHD_get_connection_values(c, MHD_HEADER_KIND, on_header, x->q) < 0)
        return MHD_NO;
    if (length != NULL)
        (void)prop_parse_u64(length, "length", &declared, NULL);
    if (prop_starts_with(x->target, "/kbs")) {
        x->counted = true;
        h->k->metrics.active++;
        prop_kbsd_count(&h->k->metrics, PROP_KBSD_HTTP_REQUESTS);
        prop_kbsd_observe(&h->k->metrics, PROP_KBSD_REQUEST_BYTES, (double)declared);
    }
    if (info != NULL && info->header_size > HEAD_MAX) {
        prop_kbsd_reply_empty(&r, 431, NULL);
        return send_reply(h, c, x, &r);
    }
    x->keep = prop_kbsd_route_takes_body(x->q);
    x->too_big = x->keep && declared > PROP_LIMIT_KBS_BODY;
    const char *encoding = header(c, "Content-Encoding");
    x->gzip = x->keep && encoding != NULL && strcasecmp(encoding, "gzip") == 0;
    /* A client that waits for our consent need not send what will be refused. */
    const char *expect = header(c, "Expect");
    if (x->too_big && expect != NULL && strcasecmp(expect, "100-continue") == 0) {
        prop_kbsd_reply_text(&r, 413, TOO_BIG);
        return send_reply(h, c, x, &r);
    }
    /* Room for the whole body at once: no copy of a resource stays behind in a smaller block. */
    bool chunked = header(c, "Transfer-Encoding") != NULL;
    size_t room = chunked ? PROP_LIMIT_KBS_BODY : (size_t)declared;
    if (x->keep && !x->too_big && room != 0 && prop_buf_reserve(&x->q->body, room, NULL) != 0)
        return MHD_NO;
    return MHD_YES;
}

static enum MHD_Result take_body(struct exchange *x, const char *data, size_t len)
{
    x->body_bytes += len;
    if (x->body_bytes > DRAIN_MAX)
        return MHD_NO;
    if (!x->keep || x->too_big)
        return MHD_YES;
    if (x->body_bytes > PROP_LIMIT_KBS_BODY)
        x->too_big = true;
    else if (prop_buf_add(&x->q->body, data, len, NULL) != 0)
        return MHD_NO;
    return MHD_YES;
}

/* Put the inflated body in the place of the gzipped one. False when there is nothing to route. */
static bool inflate_body(struct exchange *x, struct prop_kbsd_reply *r)
{
    struct prop_buf plain = PROP_BUF_INIT(PROP_LIMIT_KBS_BODY);
    /* Room at once, for the reason given in begin(). */
    int rc = prop_buf_reserve(&plain, PROP_LIMIT_KBS_BODY, NULL);

    if (rc == 0)
        rc = prop_kbsd_gunzip(x->q->body.data, x->q->body.len, &plain, NULL);
    prop_wipe(x->q->body.data, x->q->body.cap);
    prop_buf_release(&x->q->body);
    x->q->body = plain;
    if (rc == PROP_E_LIMIT)
        prop_kbsd_reply_text(r, 413, TOO_BIG);
    else if (rc != 0)
        prop_kbsd_reply_text(r, 400, "can not decode content-encoding");
    return rc == 0;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **con_cls)
{
    struct prop_kbsd_http *h = cls;
    struct exchange *x = *con_cls;
    prop_auto_kbsd_reply struct prop_kbsd_reply r;

    (void)url;
    (void)version;
    prop_kbsd_reply_init(&r);
    if (x == NULL)
        return MHD_NO;
    if (x->q == NULL)
        return begin(h, c, x, method);
    if (*data_size != 0) {
        size_t len = *data_size;
        *data_size = 0;
        return take_body(x, data, len);
    }
    if (x->too_big)
        prop_kbsd_reply_text(&r, 413, TOO_BIG);
    else if (!x->gzip || x->q->body.len == 0 || inflate_body(x, &r))
        prop_kbsd_route(h->k, x->q, &r);
    return send_reply(h, c, x, &r);
}

static struct MHD_Daemon *start_daemon(struct prop_kbsd_http *h, int fd)
{
    struct MHD_OptionItem tls[] = {
        { MHD_OPTION_HTTPS_MEM_KEY, 0, NULL },
        { MHD_OPTION_HTTPS_MEM_CERT, 0, NULL },
        { MHD_OPTION_HTTPS_PRIORITIES, 0, NULL },
        { MHD_OPTION_END, 0, NULL },
    };
    static char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    /* select: its epoll misses an end of stream that comes with the last bytes, and poll needs a
     * thread of the library's own. */
    unsigned flags = MHD_NO_FLAG;

    if (h->tls_key != NULL) {
        flags |= MHD_USE_TLS;
        tls[0].ptr_value = prop_secret_bytes(h->tls_key);
        tls[1].ptr_value = h->tls_chain.data;
        tls[2].ptr_value = priorities;
    } else {
        tls[0].option = MHD_OPTION_END;
    }
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, h,
                            MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_URI_LOG_CALLBACK, on_target, h,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                            MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

int prop_kbsd_http_start(struct prop_kbsd *k, struct prop_kbsd_http **ret, char **ret_url,
                         struct prop_err *err)
{
    prop_auto_kbsd_http struct prop_kbsd_http *h = prop_zalloc(sizeof(*h));
    prop_auto_free char *host = NULL;
    prop_auto_free char *url_host = NULL;
    int fd = -1;

    if (h == NULL)
        return prop_err_nomem(err);
    h->k = k;
    h->tls_chain = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    int rc = prop_kbsd_listen(k->config->listen, k->config->test_ok, &fd, &host, &url_host, err);
    if (rc == 0 && k->config->tls)
        rc = prop_kbsd_tls_identity(k->config->state_dir, host, &h->tls_chain, &h->tls_key, err);
    prop_auto_free char *url = rc == 0 ? prop_asprintf("%s://%s", k->config->tls ? "https" : "http",
                                                       url_host) : NULL;
    if (rc == 0 && url == NULL)
        rc = prop_err_nomem(err);
    if (rc == 0) {
        h->daemon = start_daemon(h, fd);
        if (h->daemon == NULL)
            rc = prop_err_set_id(err, PROP_E_NETWORK, "listen", "the HTTP server does not start");
    }
    if (rc != 0) {
        if (fd >= 0)
            (void)close(fd);
        return rc;
    }
    *ret_url = PROP_TAKE(url);
    *ret = PROP_TAKE(h);
    return 0;
}

int prop_kbsd_http_run(struct prop_kbsd_http *h, int max_ms, struct prop_err *err)
{
    if (MHD_run_wait(h->daemon, max_ms) != MHD_YES)
        return prop_err_set(err, PROP_E_NETWORK, "the HTTP server stopped");
    return 0;
}

void prop_kbsd_http_stop(struct prop_kbsd_http *h)
{
    if (h == NULL)
        return;
    if (h->daemon != NULL)
        MHD_stop_daemon(h->daemon);
    prop_secret_free(h->tls_key);
    prop_buf_release(&h->tls_chain);
    prop_free(h);
}
