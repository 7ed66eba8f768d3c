/* Requests of the admin commands as kbs-client makes them. Plain HTTP goes out when the URL says
 * so, as with that tool; to another machine it is worth a warning. */
#include "cmd/propkey/kbs_client_wire.h"

#include "cmd/propkey/ledger.h"
#include "http/http.h"
#include "kbs/kbs.h"
#include "keys/resource_id.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct propkey_kc_wire {
    const char *url;               /* as typed */
    struct prop_http *http;
    struct prop_secret *bearer;    /* or NULL */
    struct prop_kbs *kbs;          /* only to know the server's name in the ledger; or NULL */
};

int propkey_kc_read_text(const char *path, size_t max, struct prop_secret **ret)
{
    struct prop_err err = PROP_ERR_INIT;
    int rc = prop_file_read_secret(path, max, PROP_SECRET_FILE_ANY_MODE, ret, &err);
    if (rc == 0)
        return 0;
    return rc == PROP_E_NOTFOUND ? propkey_kc_os_error(ENOENT)
           : err.sys_errno       ? propkey_kc_os_error(err.sys_errno)
                                 : propkey_kc_error(err.message, NULL);
}

/* Before any request: what goes wrong with one names its URL, which may hold a password. */
static int check_url(const char *url, struct prop_err *err)
{
    char host[256];
    int rc = prop_url_host(url, host, sizeof host, err);
    if (rc == 0 && strncmp(url, "http://", 7) == 0 && !prop_host_is_loopback(host))
        propkey_kc_warn("plain HTTP: what goes to '%s' can be read on the way", host);
    return rc;
}

int propkey_kc_open(const struct propkey_kbs_client *c, struct propkey_kc_wire **ret,
                    struct prop_err *err)
{
    prop_auto_kc_wire struct propkey_kc_wire *w = prop_zalloc(sizeof *w);
    if (!w)
        return prop_err_nomem(err);
    w->url = c->url;
    if (c->cert_file && access(c->cert_file, R_OK) != 0)
        return propkey_kc_os_error(errno);
    int rc = propkey_kc_bearer(c, &w->bearer, err);
    if (rc == 0)
        rc = check_url(c->url, err);
    if (rc < 0)
        return rc;
    const struct prop_http_config config = { .ca_cert = c->cert_file,
                                             .user_agent = "prop/" PROP_VERSION,
                                             .allow_http = true };
    rc = prop_http_new(&config, &w->http, err);
    if (rc < 0)
        return rc;
    const struct prop_kbs_config name = { .url = c->url, .insecure_http = true };
    (void)prop_kbs_new(&name, &w->kbs, NULL);
    *ret = PROP_TAKE(w);
    return 0;
}

void propkey_kc_close(struct propkey_kc_wire *w)
{
    if (!w)
        return;
    prop_http_free(w->http);
    prop_secret_free(w->bearer);
    prop_kbs_free(w->kbs);
    prop_free(w);
}

/* What may not stand in a request line is percent-encoded, as a URL parser does it; the rest, "%"
 * and "?" too, is the user's. */
static char *encoded(const char *url)
{
    static const char never[] = " \"<>`{}|^\\";
    char *out = prop_realloc_array(NULL, strlen(url) + 1, 3);
    char *p = out;
    for (const unsigned char *s = (const unsigned char *)url; out && *s; s++) {
        if (*s > 0x20 && *s < 0x7f && !strchr(never, *s)) {
            *p++ = (char)*s;
        } else {
            (void)snprintf(p, 4, "%%%02X", *s);
            p += 3;
        }
    }
    if (out)
        *p = 0;
    return out;
}

/* No answer at all: the sentence and the causes people know from that tool. */
static int no_answer(const char *url, const struct prop_err *e)
{
    char what[1024], os[256];
    (void)snprintf(what, sizeof what, "error sending request for url (%.900s)", url);
    (void)snprintf(os, sizeof os, "%s (os error %d)", strerror(e->sys_errno), e->sys_errno);
    const char *const refused[] = { "client error (Connect)", "tcp connect error", os, NULL };
    const char *const other[] = { e->message, NULL };
    bool tcp = e->sys_errno && strcmp(prop_err_id(e), "connect") == 0;
    return propkey_kc_error(what, tcp ? refused : other);
}

static int refused(const struct prop_http_answer *a, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(32 * PROP_LIMIT_ERROR_BODY);
    int rc = prop_buf_puts(&text, "Request Failed, Response: ", err);
    if (rc == 0)
        rc = propkey_kc_debug(prop_buf_str(&a->body), a->body.len, &text, err);
    return rc < 0 ? rc : propkey_kc_error(prop_buf_str(&text), NULL);
}

int propkey_kc_send(struct propkey_kc_wire *w, const char *method, const char *path,
                    const char *content_type, const void *body, size_t len,
                    struct prop_buf *answer, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *typed = prop_asprintf("%s/kbs/v0%s", w->url, path);
    prop_auto_free char *url = typed ? encoded(typed) : NULL;
    prop_auto_free char *type = prop_asprintf("Content-Type: %s", content_type ? content_type : "");
    if (!url || !type)
        return prop_err_nomem(err);
    const char *headers[] = { "Accept: */*", content_type ? type : NULL, NULL };
    const struct prop_http_request rq = {
        .method = method,
        .url = url,
        .headers = headers,
        .authorization = w->bearer,
        .body = body,
        .body_len = len,
        .body_total = len,
        .max_body = PROP_LIMIT_KBS_ANSWER,
    };
    struct prop_err e = PROP_ERR_INIT;
    int rc = prop_http_do(w->http, &rq, &a, &e);
    if (rc == PROP_E_NETWORK)
        return no_answer(url, &e);
    if (rc < 0) {
        *err = e;
        return rc;
    }
    if (a.status != 200)
        return refused(&a, err);
    return answer ? prop_buf_add(answer, a.body.data, a.body.len, err) : 0;
}

int propkey_kc_send_json(struct propkey_kc_wire *w, const char *path, const json_t *body,
                         struct prop_err *err)
{
    prop_auto_free char *text = prop_json_compact(body);
    return text
             ? propkey_kc_send(w, "POST", path, "application/json", text, strlen(text), NULL, err)
             : prop_err_nomem(err);
}

/* --- the ledger ----------------------------------------------------------------------------- */

static struct prop_ledger *open_ledger(const struct propkey_kc_wire *w)
{
    struct prop_err e = PROP_ERR_INIT;
    struct prop_ledger *l = NULL;
    if (w->kbs && prop_ledger_open(NULL, &l, &e) < 0)
        propkey_kc_warn("this machine's ledger cannot be used: %s", e.message);
    return l;
}

/* The path as the ledger spells it; NULL where it is none of ours to keep. */
static char *plain_path(const char *path)
{
    struct prop_resource_id id;
    return prop_resource_id_parse(path, false, &id, NULL) == 0 ? prop_resource_id_path(&id) : NULL;
}

void propkey_kc_note_resource(struct propkey_kc_wire *w, const char *path,
                              const struct prop_secret *value)
{
    struct prop_err e = PROP_ERR_INIT;
    char fingerprint[17], known[17];
    prop_auto_free char *plain = plain_path(path);
    prop_auto_ledger struct prop_ledger *l = plain ? open_ledger(w) : NULL;
    if (!l)
        return;
    propkey_fingerprint(value, fingerprint);
    if (prop_ledger_find_key(l, prop_kbs_url(w->kbs), plain, known, NULL) == 0 && known[0] &&
        strcmp(known, fingerprint) != 0)
        propkey_kc_warn("'%s' held another key (fingerprint %s): what is encrypted with that one "
                        "cannot be opened from this KBS any more", plain, known);
    if (prop_ledger_add_key(l, prop_kbs_url(w->kbs), plain, fingerprint, NULL, &e) < 0)
        propkey_kc_warn("the upload is not in this machine's ledger: %s", e.message);
}

void propkey_kc_note_deleted(struct propkey_kc_wire *w, const char *path)
{
    struct prop_err e = PROP_ERR_INIT;
    prop_auto_free char *plain = plain_path(path);
    prop_auto_ledger struct prop_ledger *l = plain ? open_ledger(w) : NULL;
    if (l && prop_ledger_forget_key(l, prop_kbs_url(w->kbs), plain, &e) < 0)
        propkey_kc_warn("the name is still in this machine's ledger: %s", e.message);
}

void propkey_kc_note_policy(struct propkey_kc_wire *w, const char *rego, size_t len)
{
    struct prop_err e = PROP_ERR_INIT;
    if (memchr(rego, 0, len))
        return;
    prop_auto_ledger struct prop_ledger *l = open_ledger(w);
    if (l && prop_ledger_add_policy(l, prop_kbs_url(w->kbs), rego, NULL, &e) < 0)
        propkey_kc_warn("the upload is not in this machine's ledger: %s", e.message);
}
