/* Who refers to a manifest: asked of the registry, or kept in the fallback tag where it cannot
 * tell. What it lists is checked as any descriptor and never taken for more than a hint: the
 * artifacts themselves are read by digest. */
#include "oci/referrers.h"

#include "oci/layout_index.h"
#include "oci/referrers_tag.h"
#include "oci/registry.h"
#include "oci/registry_put.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

#define PAGES_MAX 1000
#define REFERRERS_MAX 100000

const char *prop_referrers_tag(const struct prop_digest *subject, char out[PROP_REFERRERS_TAG])
{
    char text[PROP_DIGEST_TEXT];
    const char *colon;

    (void)prop_digest_format(subject, text);
    colon = strchr(text, ':');
    (void)snprintf(out, PROP_REFERRERS_TAG, "%.*s-%.64s", (int)(colon - text), text, colon + 1);
    return out;
}

/* --- a conversation about one repository --- */

static int talk_open(struct prop_referrers_talk *t, const struct prop_ref *ref,
                     const char *actions, const struct prop_oci_options *opts, struct prop_err *err)
{
    t->path = ref->path;
    t->scope = prop_registry_scope(ref->path, actions);
    return t->scope == NULL ? prop_err_nomem(err)
                            : prop_session_new(ref->domain, ref->path, opts, &t->session, err);
}

static void talk_close(struct prop_referrers_talk *t)
{
    prop_session_free(t->session);
    prop_free(t->scope);
}
#define auto_talk __attribute__((cleanup(talk_close)))

/* --- what a manifest says --- */

static const char *artifact_type_of(const json_t *manifest)
{
    const char *type = json_string_value(json_object_get(manifest, "artifactType"));

    return type != NULL ? type
                        : json_string_value(
                              json_object_get(json_object_get(manifest, "config"), "mediaType"));
}

/* The entry of a list of referrers: a descriptor that says what the manifest is. Owned. */
static json_t *entry_of(const json_t *manifest, const char *media_type,
                        const struct prop_digest *digest, uint64_t size)
{
    json_t *annotations = json_object_get(manifest, "annotations");
    const char *type = artifact_type_of(manifest);
    json_t *entry = prop_descriptor_new(media_type, digest, size);

    if (entry != NULL && json_is_object(annotations) && json_object_size(annotations) > 0)
        (void)json_object_set(entry, "annotations", annotations);
    if (entry != NULL && type != NULL)
        (void)json_object_set_new(entry, "artifactType", json_string(type));
    return entry;
}

static bool refers_to(const json_t *manifest, const struct prop_digest *subject)
{
    struct prop_digest d;
    const char *text = json_string_value(
        json_object_get(json_object_get(manifest, "subject"), "digest"));

    return text != NULL && prop_digest_parse(text, &d, NULL) == 0 && prop_digest_equal(&d, subject);
}

static bool has_type(const json_t *entry, const char *artifact_type)
{
    const char *type = json_string_value(json_object_get(entry, "artifactType"));

    return artifact_type == NULL || (type != NULL && strcmp(type, artifact_type) == 0);
}

/* Add the entries of a list that are of the type; a malformed one fails the whole list. */
static int add_entries(json_t *all, json_t *index, const char *artifact_type, struct prop_err *err)
{
    json_t *entries = json_object_get(index, "manifests"), *entry;
    struct prop_descriptor d;
    size_t i;

    if (!json_is_object(index) ||
        (entries != NULL && !json_is_null(entries) && !json_is_array(entries)))
        return prop_err_set_id(err, PROP_E_REMOTE, "bad-referrers",
                               "the list of referrers is malformed");
    json_array_foreach(entries, i, entry) {
        int rc = prop_descriptor_read(entry, "an entry of the list of referrers", &d, err);

        if (rc < 0)
            return rc;
        if (json_array_size(all) >= REFERRERS_MAX)
            return prop_err_set(err, PROP_E_LIMIT, "there are more than %d referrers",
                                REFERRERS_MAX);
        if (has_type(entry, artifact_type) && json_array_append(all, entry) < 0)
            return prop_err_nomem(err);
    }
    return 0;
}

/* --- announcing --- */

/* The manifest once more under its digest, which changes nothing, for the answer's header. */
static int put_again(const struct prop_referrers_talk *t, const struct prop_buf *manifest,
                     const char *media_type, const struct prop_digest *digest, bool *ret_kept,
                     struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    char text[PROP_DIGEST_TEXT];
    prop_auto_free char *rest = prop_asprintf("manifests/%s", prop_digest_format(digest, text));
    prop_auto_free char *url = rest != NULL ? prop_session_url(t->session, t->path, rest) : NULL;
    prop_auto_free char *type = prop_asprintf("Content-Type: %s", media_type);
    const char *headers[] = { type, NULL };
    struct prop_http_request rq = { .method = "PUT", .url = url, .headers = headers,
                                    .body = manifest->data, .body_len = manifest->len,
                                    .idempotent = true };
    int rc;

    if (url == NULL || type == NULL)
        return prop_err_nomem(err);
    rc = prop_session_do(t->session, &rq, t->scope, &a, err);
    if (rc == 0)
        rc = prop_registry_committed(t->session, &a, digest, "manifest", err);
    *ret_kept = rc == 0 && prop_http_header(&a, "oci-subject", 0) != NULL;
    return rc;
}

static int announce(const struct prop_referrers_talk *t, const struct prop_buf *manifest,
                    const char *media_type, const json_t *doc, const struct prop_digest *subject,
                    char **ret_tag, struct prop_err *err)
{
    struct prop_digest digest;
    char tag[PROP_REFERRERS_TAG];
    prop_auto_json json_t *entry = NULL;
    bool kept = false;
    int rc = prop_digest_of(PROP_SHA256, manifest->data, manifest->len, &digest, err);

    if (rc == 0)
        rc = put_again(t, manifest, media_type, &digest, &kept, err);
    if (rc < 0 || kept)
        return rc;
    entry = entry_of(doc, media_type, &digest, manifest->len);
    if (entry == NULL)
        return prop_err_nomem(err);
    rc = prop_referrers_tag_keep(t, prop_referrers_tag(subject, tag), entry, err);
    if (rc < 0)
        return rc;
    *ret_tag = prop_strdup(tag);
    return *ret_tag == NULL ? prop_err_nomem(err) : 0;
}

int prop_referrers_announce(const struct prop_ref *ref, const struct prop_oci_options *opts,
                            const struct prop_buf *manifest, const char *media_type,
                            char **ret_tag, struct prop_err *err)
{
    prop_auto_json json_t *doc = NULL;
    auto_talk struct prop_referrers_talk t = { NULL, NULL, NULL };
    struct prop_descriptor subject;
    json_t *said;
    int rc = prop_json_parse(prop_buf_str(manifest), manifest->len, "the manifest", &doc, err);

    if (rc < 0)
        return rc;
    said = json_object_get(doc, "subject");
    if (said == NULL || json_is_null(said))
        return 0;
    rc = prop_descriptor_read(said, "the manifest's subject", &subject, err);
    if (rc == 0)
        rc = talk_open(&t, ref, "pull,push", opts, err);
    if (rc == 0)
        rc = announce(&t, manifest, media_type, doc, &subject.digest, ret_tag, err);
    return rc < 0 ? prop_err_wrap(err, "referrers of '%s/%s'", ref->domain, ref->path) : 0;
}

/* --- listing --- */

static bool lists_referrers(const struct prop_http_answer *a)
{
    return a->status != 404 && a->status != 405 && a->status != 501;
}

/* One page; `*url` becomes the next one's. ret_there false: the registry has no such list. */
static int read_page(const struct prop_referrers_talk *t, const char *artifact_type, char **url,
                     json_t *all, bool *ret_there, struct prop_err *err)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_json json_t *page = NULL;
    struct prop_http_request rq = { .method = "GET", .url = *url, .idempotent = true,
                                    .follow = true, .max_body = PROP_LIMIT_MANIFEST };
    int rc = prop_session_do(t->session, &rq, t->scope, &a, err);

    if (rc < 0)
        return rc;
    *ret_there = lists_referrers(&a);
    if (!*ret_there)
        return 0;
    if (a.status != 200)
        return prop_session_refused(t->session, &a, "referrers", "image-not-found", err);
    rc = prop_json_parse(prop_buf_str(&a.body), a.body.len, "the list of referrers", &page, err);
    if (rc == 0) /* a registry need not filter: those that do say so, and it does not hurt twice */
        rc = add_entries(all, page, artifact_type, err);
    return rc == 0 ? prop_registry_next_page(t->session, &a, url, err) : rc;
}

static int read_pages(const struct prop_referrers_talk *t, const struct prop_digest *subject,
                      const char *artifact_type, json_t *all, bool *ret_there,
                      struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    prop_auto_free char *type = artifact_type != NULL ? prop_url_escape(artifact_type) : NULL;
    prop_auto_free char *rest = prop_asprintf("referrers/%s%s%s", prop_digest_format(subject, text),
                                              artifact_type != NULL ? "?artifactType=" : "",
                                              type != NULL ? type : "");
    prop_auto_free char *url = rest != NULL ? prop_session_url(t->session, t->path, rest) : NULL;
    int rc = url == NULL || (artifact_type != NULL && type == NULL) ? prop_err_nomem(err) : 0;

    *ret_there = true;
    for (unsigned pages = 0; rc == 0 && url != NULL && *ret_there; pages++) {
        if (pages == PAGES_MAX)
            return prop_err_set(err, PROP_E_LIMIT, "the list of referrers has no end");
        rc = read_page(t, artifact_type, &url, all, ret_there, err);
    }
    return rc;
}

static int list_tagged(const struct prop_referrers_talk *t, const struct prop_digest *subject,
                       const char *artifact_type, json_t *all, struct prop_err *err)
{
    char tag[PROP_REFERRERS_TAG];
    prop_auto_json json_t *index = NULL;
    int rc = prop_referrers_tag_read(t, prop_referrers_tag(subject, tag), &index, err);

    return rc == 0 ? add_entries(all, index, artifact_type, err) : rc;
}

int prop_referrers_list(const struct prop_ref *ref, const struct prop_oci_options *opts,
                        const struct prop_digest *subject, const char *artifact_type,
                        json_t **ret, enum prop_referrers_way *ret_way, struct prop_err *err)
{
    auto_talk struct prop_referrers_talk t = { NULL, NULL, NULL };
    prop_auto_json json_t *all = json_array();
    bool there = true;
    int rc = all == NULL ? prop_err_nomem(err) : talk_open(&t, ref, "pull", opts, err);

    if (rc == 0)
        rc = read_pages(&t, subject, artifact_type, all, &there, err);
    if (rc == 0 && !there)
        rc = list_tagged(&t, subject, artifact_type, all, err);
    if (rc < 0)
        return prop_err_wrap(err, "referrers in '%s/%s'", ref->domain, ref->path);
    *ret_way = there ? PROP_REFERRERS_API : PROP_REFERRERS_TAGGED;
    *ret = PROP_TAKE(all);
    return 0;
}

/* --- layouts --- */

/* Manifests that are not there, as in partial copies, refer to nothing. */
static int add_from_layout(const char *dir, json_t *found, const struct prop_digest *subject,
                           const char *artifact_type, json_t *all, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_json json_t *manifest = NULL;
    prop_auto_json json_t *entry = NULL;
    prop_auto_free char *path = NULL;
    struct prop_descriptor d;
    int rc = prop_descriptor_read(found, "an entry of the layout", &d, err);

    if (rc < 0)
        return rc;
    path = prop_layout_blob_path(dir, &d.digest);
    if (path == NULL)
        return prop_err_nomem(err);
    if (prop_file_read(path, &bytes, NULL) < 0 ||
        prop_json_parse(prop_buf_str(&bytes), bytes.len, "a manifest", &manifest, NULL) < 0 ||
        !refers_to(manifest, subject))
        return 0;
    entry = entry_of(manifest, d.media_type, &d.digest, d.size);
    if (entry == NULL || (has_type(entry, artifact_type) && json_array_append(all, entry) < 0))
        return prop_err_nomem(err);
    return 0;
}

int prop_layout_referrers(const char *dir, const struct prop_digest *subject,
                          const char *artifact_type, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    prop_auto_json json_t *all = json_array();
    json_t *entry;
    size_t i;
    int rc = all == NULL ? prop_err_nomem(err) : prop_layout_load(dir, &index, err);

    if (rc < 0)
        return rc;
    json_array_foreach(json_object_get(index, "manifests"), i, entry) {
        rc = add_from_layout(dir, entry, subject, artifact_type, all, err);
        if (rc < 0)
            return rc;
    }
    *ret = PROP_TAKE(all);
    return 0;
}
