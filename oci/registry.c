/* Registry requests that are no image transfer: is this a registry and who are we there, and which
 * tags are there. */
#include "oci/registry.h"

#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>

#define TAG_PAGES_MAX 10000

int prop_registry_ping(struct prop_session *s, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *url = prop_session_url(s, "", "");
    struct prop_http_request rq = { .method = "GET", .url = url, .idempotent = true };
    int rc;

    if (url == NULL)
        return prop_err_nomem(err);
    rc = prop_session_do(s, &rq, NULL, &a, err);
    if (rc < 0)
        return rc;
    return a.status == 200 ? 0 : prop_session_refused(s, &a, "login", "not-a-registry", err);
}

static int add_tags(json_t *all, const struct prop_http_answer *a, struct prop_err *err)
{
    prop_auto_json json_t *page = NULL;
    json_t *tags, *tag;
    size_t i;
    int rc = prop_json_parse(prop_buf_str(&a->body), a->body.len, "the list of tags", &page, err);

    if (rc < 0)
        return rc;
    tags = json_object_get(page, "tags");
    if (tags != NULL && !json_is_null(tags) && !json_is_array(tags))
        return prop_err_set(err, PROP_E_REMOTE, "the list of tags is malformed");
    json_array_foreach(tags, i, tag) {
        if (!json_is_string(tag))
            return prop_err_set(err, PROP_E_REMOTE, "the list of tags is malformed");
        if (json_array_append(all, tag) < 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* The target of the link that says rel=next (RFC 8288 section 3), one of several perhaps, in a copy; NULL
 * when there is none. */
static int find_next(const struct prop_http_answer *a, char **ret, struct prop_err *err)
{
    const char *p;

    for (size_t i = 0; (p = prop_http_header(a, "link", i)) != NULL; i++)
        while ((p = strchr(p, '<')) != NULL) {
            const char *end = strchr(p, '>');
            size_t len = end != NULL ? strcspn(end, "<") : 0; /* its parameters */
            const char *rel = end != NULL ? memmem(end, len, "rel=", 4) : NULL;

            if (end == NULL)
                break;
            if (rel != NULL && memmem(rel, len - (size_t)(rel - end), "next", 4) != NULL) {
                *ret = prop_strndup(p + 1, (size_t)(end - p - 1));
                return *ret == NULL ? prop_err_nomem(err) : 0;
            }
            p = end;
        }
    return 0;
}

int prop_registry_next_page(const struct prop_session *s, const struct prop_http_answer *a,
                            char **url, struct prop_err *err)
{
    prop_auto_free char *target = NULL;
    char *next = NULL;
    int rc = find_next(a, &target, err);

    prop_free(*url);
    *url = NULL;
    if (rc < 0 || target == NULL)
        return rc;
    rc = prop_url_resolve(a->effective_url, target, &next, err);
    if (rc < 0)
        return rc;
    if (!prop_url_same_origin(next, s->origin)) {
        prop_free(next);
        return prop_err_set_id(err, PROP_E_REMOTE, "foreign-location",
                               "the list goes on at another server: refused");
    }
    *url = next;
    return 0;
}

static int list_pages(struct prop_session *s, const char *path, const char *scope, json_t *all,
                      struct prop_err *err)
{
    prop_auto_free char *url = prop_session_url(s, path, "tags/list?n=1000");
    int rc = url == NULL ? prop_err_nomem(err) : 0;

    for (unsigned pages = 0; rc == 0 && url != NULL; pages++) {
        prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
        struct prop_http_request rq = { .method = "GET", .url = url, .idempotent = true,
                                        .follow = true, .max_body = PROP_LIMIT_MANIFEST };

        if (pages == TAG_PAGES_MAX)
            return prop_err_set(err, PROP_E_LIMIT, "the list of tags has no end");
        rc = prop_session_do(s, &rq, scope, &a, err);
        if (rc == 0 && a.status != 200)
            rc = prop_session_refused(s, &a, "tags", "repository-not-found", err);
        if (rc == 0)
            rc = add_tags(all, &a, err);
        if (rc == 0)
            rc = prop_registry_next_page(s, &a, &url, err);
    }
    return rc;
}

int prop_registry_tags(const struct prop_ref *ref, const struct prop_oci_options *opts,
                       json_t **ret, struct prop_err *err)
{
    prop_auto_session struct prop_session *s = NULL;
    prop_auto_free char *scope = prop_registry_scope(ref->path, "pull");
    prop_auto_json json_t *all = json_array();
    int rc;

    if (scope == NULL || all == NULL)
        return prop_err_nomem(err);
    rc = prop_session_new(ref->domain, ref->path, opts, &s, err);
    if (rc == 0)
        rc = list_pages(s, ref->path, scope, all, err);
    if (rc < 0)
        return prop_err_wrap(err, "'%s/%s'", ref->domain, ref->path);
    *ret = PROP_TAKE(all);
    return 0;
}
