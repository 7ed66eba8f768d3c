/* Who refers to a manifest: asked of the registry, or kept in the fallback tag where it cannot
 * tell. What it lists is checked as any descriptor and never taken for more than a hint: the
 * artifacts themselves are read by digest. */
#include "oci/referrers.h"

#include "crypto/random.h"
#include "oci/layout_index.h"
#include "oci/registry.h"
#include "oci/registry_put.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEEP_TRIES 20
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

/* A conversation about one repository. */
struct talk {
    struct prop_session *session;
    const char *path;
    char *scope;
};

static int talk_open(struct talk *t, const struct prop_ref *ref, const char *actions,
                     const struct prop_oci_options *opts, struct prop_err *err)
{
    t->path = ref->path;
    t->scope = prop_registry_scope(ref->path, actions);
    return t->scope == NULL ? prop_err_nomem(err)
                            : prop_session_new(ref->domain, ref->path, opts, &t->session, err);
}

static void talk_close(struct talk *t)
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

/* --- the fallback tag --- */

/* The index under a tag; an empty one when there is none. Owned. */
static int read_tagged(const struct talk *t, const char *tag, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *said = NULL;
    prop_auto_free char *type = NULL;
    struct prop_err failure = PROP_ERR_INIT;
    int rc = prop_registry_manifest(t->session, t->path, t->scope, tag, &bytes, &said, &failure);

    if (rc == PROP_E_NOTFOUND) {
        *ret = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", PROP_MT_OCI_INDEX,
                         "manifests");
        return *ret == NULL ? prop_err_nomem(err) : 0;
    }
    if (rc < 0 && err != NULL)
        *err = failure;
    if (rc == 0)
        rc = prop_manifest_type(bytes.data, bytes.len, said, "the list of referrers", &type, err);
    if (rc == 0 && strcmp(type, PROP_MT_OCI_INDEX) != 0)
        rc = prop_err_set_id(err, PROP_E_INPUT, "bad-referrers",
                             "the tag '%s' is no list of referrers", tag);
    return rc == 0 ? prop_json_parse(prop_buf_str(&bytes), bytes.len, "the list of referrers", ret,
                                     err)
                   : rc;
}

static bool listed(const json_t *index, const json_t *entry)
{
    const char *want = json_string_value(json_object_get(entry, "digest"));
    size_t i;
    json_t *have;

    json_array_foreach(json_object_get(index, "manifests"), i, have) {
        const char *digest = json_string_value(json_object_get(have, "digest"));

        if (digest != NULL && strcmp(digest, want) == 0)
            return true;
    }
    return false;
}

static int put_tagged(const struct talk *t, const char *tag, const json_t *index,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_digest digest;
    int rc = prop_manifest_write(index, &bytes, err);

    if (rc == 0)
        rc = prop_digest_of(PROP_SHA256, bytes.data, bytes.len, &digest, err);
    if (rc == 0) {
        const struct prop_registry_put m = { tag, bytes.data, bytes.len, PROP_MT_OCI_INDEX,
                                             &digest };

        rc = prop_registry_put_manifest(t->session, t->path, t->scope, &m, err);
    }
    return rc;
}

static bool is_gone(const struct talk *t, const json_t *entry)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *said = NULL;
    const char *digest = json_string_value(json_object_get(entry, "digest"));

    return digest == NULL || prop_registry_manifest(t->session, t->path, t->scope, digest, &bytes,
                                                    &said, NULL) == PROP_E_NOTFOUND;
}

/* Registries take no list that names what was deleted since: those entries go. False: there were
 * none. */
static bool prune(const struct talk *t, json_t *index)
{
    json_t *entries = json_object_get(index, "manifests");
    bool found = false;

    for (size_t i = json_array_size(entries); i-- > 0;)
        if (is_gone(t, json_array_get(entries, i))) {
            (void)json_array_remove(entries, i);
            found = true;
        }
    return found;
}

static int put_pruned(const struct talk *t, const char *tag, json_t *index, struct prop_err *err)
{
    struct prop_err failure = PROP_ERR_INIT;
    int rc = put_tagged(t, tag, index, &failure);

    if ((rc == PROP_E_REMOTE || rc == PROP_E_NOTFOUND) && prune(t, index))
        return put_tagged(t, tag, index, err);
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

/* Long enough for a writer that read the list before ours was there to have written his. */
static int pause_a_little(unsigned tries, struct prop_err *err)
{
    uint8_t chance = 0;
    struct timespec wait = { 0, 0 };
    int rc = prop_stop_check(err);

    prop_random(&chance, 1);
    wait.tv_nsec = 30000000L * (long)(tries + 1) + 400000L * chance;
    if (rc == 0)
        (void)nanosleep(&wait, NULL);
    return rc;
}

/* Write, read back, and once more when another writer's list has replaced ours: what was written here
 * has to be seen twice, and more often where others write, too. Best effort: nothing locks a tag. */
static int keep_tag(const struct talk *t, const char *tag, json_t *entry, struct prop_err *err)
{
    unsigned seen = 0, wanted = 2;

    for (unsigned tries = 0; tries < KEEP_TRIES; tries++) {
        prop_auto_json json_t *index = NULL;
        int rc = read_tagged(t, tag, &index, err);

        if (rc < 0)
            return rc;
        seen = listed(index, entry) ? seen + 1 : 0;
        if (seen == wanted || (seen == 1 && tries == 0))
            return 0;
        if (seen == 0 && tries > 0)
            wanted = 4;
        if (seen == 0 && json_array_append(json_object_get(index, "manifests"), entry) < 0)
            return prop_err_set(err, PROP_E_INPUT, "the tag '%s' is no list of referrers", tag);
        rc = seen == 0 ? put_pruned(t, tag, index, err) : pause_a_little(tries, err);
        if (rc < 0)
            return rc;
    }
    if (seen > 0)
        return 0;
    prop_err_set_id(err, PROP_E_REMOTE, "referrers-race",
                    "others write the list of referrers '%s' all the time", tag);
    return prop_err_hint(err, "push the same again: what is there is kept");
}

/* --- announcing --- */

/* The manifest once more under its digest, which changes nothing, for the answer's header. */
static int put_again(const struct talk *t, const struct prop_buf *manifest, const char *media_type,
                     const struct prop_digest *digest, bool *ret_kept, struct prop_err *err)
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

static int announce(const struct talk *t, const struct prop_buf *manifest, const char *media_type,
                    const json_t *doc, const struct prop_digest *subject, char **ret_tag,
                    struct prop_err *err)
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
    rc = keep_tag(t, prop_referrers_tag(subject, tag), entry, err);
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
    auto_talk struct talk t = { NULL, NULL, NULL };
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
static int read_page(const struct talk *t, const char *artifact_type, char **url, json_t *all,
                     bool *ret_there, struct prop_err *err)
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

static int read_pages(const struct talk *t, const struct prop_digest *subject,
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

static int list_tagged(const struct talk *t, const struct prop_digest *subject,
                       const char *artifact_type, json_t *all, struct prop_err *err)
{
    char tag[PROP_REFERRERS_TAG];
    prop_auto_json json_t *index = NULL;
    int rc = read_tagged(t, prop_referrers_tag(subject, tag), &index, err);

    return rc == 0 ? add_entries(all, index, artifact_type, err) : rc;
}

int prop_referrers_list(const struct prop_ref *ref, const struct prop_oci_options *opts,
                        const struct prop_digest *subject, const char *artifact_type,
                        json_t **ret, enum prop_referrers_way *ret_way, struct prop_err *err)
{
    auto_talk struct talk t = { NULL, NULL, NULL };
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
