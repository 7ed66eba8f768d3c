/* Answers, and the error documents of the protocol. When memory is out there is no answer at all:
 * the connection is closed. */
#include "kbsd/reply.h"

#include "util/json.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERROR_TYPE "https://github.com/confidential-containers/kbs/errors/"

void prop_kbsd_reply_init(struct prop_kbsd_reply *r)
{
    memset(r, 0, sizeof(*r));
    r->body = (struct prop_buf)PROP_BUF_INIT(PROP_KBSD_REPLY_MAX);
}

void prop_kbsd_reply_release(struct prop_kbsd_reply *r)
{
    prop_free(r->cookie);
    r->cookie = NULL;
    prop_buf_release(&r->body);
}

static void reply_reset(struct prop_kbsd_reply *r, unsigned status)
{
    prop_free(r->cookie);
    r->cookie = NULL;
    prop_buf_clear(&r->body);
    r->status = status;
    r->content_type = NULL;
    r->allow = NULL;
    r->error_name = NULL;
    r->cause[0] = '\0';
}

void prop_kbsd_reply_ok(struct prop_kbsd_reply *r, const char *content_type, const void *body,
                        size_t len)
{
    reply_reset(r, 200);
    r->content_type = content_type;
    if (len != 0 && prop_buf_add(&r->body, body, len, NULL) != 0)
        r->drop = true;
}

void prop_kbsd_reply_empty(struct prop_kbsd_reply *r, unsigned status, const char *allow)
{
    reply_reset(r, status);
    r->allow = allow;
}

void prop_kbsd_reply_text(struct prop_kbsd_reply *r, unsigned status, const char *text)
{
    reply_reset(r, status);
    r->content_type = "text/plain; charset=utf-8";
    if (prop_buf_puts(&r->body, text, NULL) != 0)
        r->drop = true;
}

static char *vformat(const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    char *text = n >= 0 ? prop_alloc((size_t)n + 1) : NULL;
    if (text != NULL)
        (void)vsnprintf(text, (size_t)n + 1, fmt, args);
    return text;
}

void prop_kbsd_refuse(struct prop_kbsd_reply *r, const char *name, const struct prop_err *cause,
                      const char *detail, ...)
{
    va_list args;
    va_start(args, detail);
    prop_auto_free char *text = vformat(detail, args);
    va_end(args);

    reply_reset(r, strcmp(name, "PluginNotFound") == 0 ? 404 : 401);
    r->error_name = name;
    const char *why = cause != NULL && cause->message[0] != '\0' ? cause->message
                    : text != NULL ? text : "";
    (void)prop_printable(why, strlen(why), r->cause, sizeof(r->cause));
    prop_auto_free char *type = prop_asprintf(ERROR_TYPE "%s", name);
    prop_auto_json json_t *doc = NULL;
    if (text != NULL && type != NULL)
        doc = json_pack("{s:s,s:s}", "type", type, "detail", text);
    prop_auto_free char *body = doc != NULL ? prop_json_compact(doc) : NULL;
    if (body == NULL || prop_buf_puts(&r->body, body, NULL) != 0)
        r->drop = true;
}
