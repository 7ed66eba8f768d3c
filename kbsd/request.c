/* Taking a request apart: target, query, cookie, bearer token. */
#include "kbsd/request.h"

#include "util/encode.h"
#include "util/secret.h"
#include "util/text.h"

#include <stdbool.h>
#include <string.h>

#define PREFIX "/kbs/v0/"
#define NOT_UTF8 0xffu /* no character has this byte, so it becomes U+FFFD */

/* Valid UTF-8 from any bytes; NULL when memory is out. */
static char *clean(const void *raw, size_t n)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(3 * n + 1);

    if (prop_utf8_clean(raw, n, &text, NULL) != 0 || prop_buf_add(&text, "", 0, NULL) != 0)
        return NULL;
    return prop_buf_take(&text, NULL);
}

/* Percent-decode `len` bytes into clean text; NULL when memory is out. */
static char *decode(const char *s, size_t len, bool plus_is_space)
{
    prop_auto_free unsigned char *raw = prop_alloc(len + 1);
    size_t n = 0;

    if (raw == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        int hi = s[i] == '%' && i + 2 < len ? prop_hex_digit(s[i + 1]) : -1;
        int lo = hi >= 0 ? prop_hex_digit(s[i + 2]) : -1;
        if (lo >= 0) {
            raw[n] = (unsigned char)(hi * 16 + lo);
            i += 2;
        } else {
            raw[n] = (unsigned char)(plus_is_space && s[i] == '+' ? ' ' : s[i]);
        }
        raw[n] = raw[n] == 0 ? NOT_UTF8 : raw[n]; /* the text ends at its first NUL */
        n++;
    }
    return clean(raw, n);
}

static int parse_query(struct prop_kbsd_request *q, const char *text, struct prop_err *err)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "&");
        size_t name_len = 0;
        while (name_len < len && text[name_len] != '=')
            name_len++;
        size_t skip = name_len < len ? name_len + 1 : len;
        if (len != 0) {
            prop_auto_free char *name = decode(text, name_len, true);
            prop_auto_free char *value = decode(text + skip, len - skip, true);
            if (name == NULL || value == NULL ||
                json_object_set_new(q->query, name, json_string(value)) != 0)
                return prop_err_nomem(err);
        }
        text += len;
        if (*text == '&')
            text++;
    }
    return 0;
}

static int split_path(struct prop_kbsd_request *q, const char *path, size_t len,
                      struct prop_err *err)
{
    prop_auto_free char *text = decode(path, len, false);

    if (text == NULL)
        return prop_err_nomem(err);
    const char *slash = strchr(text, '/');
    q->plugin = slash != NULL ? prop_strndup(text, (size_t)(slash - text)) : prop_strdup(text);
    q->rest = prop_strdup(slash != NULL ? slash + 1 : "");
    if (q->plugin == NULL || q->rest == NULL)
        return prop_err_nomem(err);
    for (const char *s = slash; s != NULL; s = strchr(s, '/')) {
        size_t n = strcspn(++s, "/");
        if (json_array_append_new(q->segments, json_stringn(s, n)) != 0)
            return prop_err_nomem(err);
    }
    return 0;
}

int prop_kbsd_request_new(const char *method, const char *target, size_t max_body,
                          struct prop_kbsd_request **ret, struct prop_err *err)
{
    prop_auto_kbsd_request struct prop_kbsd_request *q = prop_zalloc(sizeof(*q));
    size_t path_len = strcspn(target, "?#");
    int rc = 0;

    if (q == NULL)
        return prop_err_nomem(err);
    q->body = (struct prop_buf)PROP_BUF_INIT(max_body);
    q->method = prop_strdup(method);
    q->target = clean(target, strlen(target));
    q->segments = json_array();
    q->query = json_object();
    if (q->method == NULL || q->target == NULL || q->segments == NULL || q->query == NULL)
        return prop_err_nomem(err);
    if (prop_starts_with(target, PREFIX)) {
        q->area = PROP_KBSD_AREA_KBS;
        rc = split_path(q, target + strlen(PREFIX), path_len - strlen(PREFIX), err);
    } else if (path_len == strlen("/metrics") && strncmp(target, "/metrics", path_len) == 0) {
        q->area = PROP_KBSD_AREA_METRICS;
    } else if (path_len == strlen("/healthz") && strncmp(target, "/healthz", path_len) == 0) {
        q->area = PROP_KBSD_AREA_HEALTHZ;
    }
    if (rc == 0 && target[path_len] == '?')
        rc = parse_query(q, target + path_len + 1, err);
    if (rc != 0)
        return rc;
    *ret = PROP_TAKE(q);
    return 0;
}

void prop_kbsd_request_free(struct prop_kbsd_request *q)
{
    if (q == NULL)
        return;
    prop_free(q->method);
    prop_free(q->target);
    prop_free(q->plugin);
    prop_free(q->rest);
    json_decref(q->segments);
    json_decref(q->query);
    prop_free(q->authorization);
    prop_free(q->session_id);
    if (q->body.data != NULL)
        prop_wipe(q->body.data, q->body.cap);
    prop_buf_release(&q->body);
    prop_free(q);
}

int prop_kbsd_request_add_cookies(struct prop_kbsd_request *q, const char *header,
                                  struct prop_err *err)
{
    const size_t name_len = strlen(PROP_KBSD_COOKIE);

    while (q->session_id == NULL && *header != '\0') {
        header += strspn(header, " \t;");
        size_t len = strcspn(header, ";");
        const char *value = header + name_len + 1;
        if (len > name_len && strncmp(header, PROP_KBSD_COOKIE "=", name_len + 1) == 0) {
            size_t n = len - name_len - 1;
            while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
                n--;
            if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
                value++;
                n -= 2;
            }
            q->session_id = decode(value, n, false);
            if (q->session_id == NULL)
                return prop_err_nomem(err);
        }
        header += len;
    }
    return 0;
}

const char *prop_kbsd_request_bearer(const struct prop_kbsd_request *q)
{
    static const char scheme[] = "Bearer ";

    if (q->authorization == NULL || !prop_starts_with(q->authorization, scheme))
        return NULL;
    const char *token = q->authorization + strlen(scheme);
    return *token != '\0' && strchr(token, ' ') == NULL ? token : NULL;
}
