/* Deleting is where registries differ most: by digest, by tag, or not at all (registry.md 2.1). */
#include "oci/remove.h"

#include "oci/blobfile.h"
#include "oci/layout_index.h"
#include "oci/registry.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define TAKE_BACK_MS 10000u

static int refused(const struct prop_session *s, const struct prop_http_answer *a, const char *what,
                   struct prop_err *err)
{
    int rc = prop_session_refused(s, a, "delete", "image-not-found", err);
    if (a->status != 405 && a->status != 400)
        return rc;
    (void)prop_err_set_id(err, PROP_E_UNSUPPORTED, "delete-unsupported",
                          "the registry does not delete %s (status %d)", what, a->status);
    return PROP_E_UNSUPPORTED;
}

static int delete_manifest(const struct prop_location *loc, const char *name, const char *what,
                           const struct prop_oci_options *opts, struct prop_err *err)
{
    prop_auto_session struct prop_session *s = NULL;
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    prop_auto_free char *scope = prop_registry_scope(loc->ref.path, "delete,pull,push");
    prop_auto_free char *rest = prop_asprintf("manifests/%s", name);
    struct prop_oci_options o = *opts;
    if (scope == NULL || rest == NULL)
        return prop_err_nomem(err);
    /* what a run takes back because its time is over gets a moment of its own */
    if (o.deadline_ms != 0 && o.deadline_ms < prop_now_ms() + TAKE_BACK_MS)
        o.deadline_ms = prop_now_ms() + TAKE_BACK_MS;
    int rc = prop_session_new(loc->ref.domain, loc->ref.path, &o, &s, err);
    if (rc != 0)
        return rc;
    prop_auto_free char *url = prop_session_url(s, loc->ref.path, rest);
    struct prop_http_request rq = { .method = "DELETE", .url = url };
    if (url == NULL)
        return prop_err_nomem(err);
    rc = prop_session_do(s, &rq, scope, &a, err);
    if (rc != 0)
        return rc;
    return a.status >= 200 && a.status < 300 ? 0 : refused(s, &a, what, err);
}

int prop_remove_manifest(const struct prop_location *loc, const struct prop_digest *digest,
                         const struct prop_oci_options *opts, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    return delete_manifest(loc, prop_digest_format(digest, text), "manifests", opts, err);
}

int prop_remove_tag(const struct prop_location *loc, const struct prop_oci_options *opts,
                    struct prop_err *err)
{
    return delete_manifest(loc, loc->ref.tag, "tags", opts, err);
}

/* --- layouts ----------------------------------------------------------------------------------- */

/* The entry that carries the name; NULL finds the one without. */
static size_t find_entry(const json_t *manifests, const char *name)
{
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *a = json_object_get(json_array_get(manifests, i), "annotations");
        const char *has = json_string_value(json_object_get(a, PROP_ANNOTATION_REF_NAME));
        if (has == NULL ? name == NULL : name != NULL && strcmp(has, name) == 0)
            return i;
    }
    return json_array_size(manifests);
}

static int rewrite(const struct prop_location *loc, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *path = prop_path_join(loc->path, "index.json");
    int rc = path == NULL ? prop_err_nomem(err) : prop_layout_load(loc->path, &index, err);
    if (rc != 0)
        return rc;
    json_t *manifests = json_object_get(index, "manifests");
    size_t i = find_entry(manifests, loc->name);
    if (i == json_array_size(manifests))
        return prop_err_set_id(err, PROP_E_NOTFOUND, "image-not-found", "'%s' is not there",
                               loc->text);
    (void)json_array_remove(manifests, i);
    rc = prop_index_write(index, &text, err);
    return rc == 0 ? prop_file_write(path, text.data, text.len, prop_image_mode(0644), true, err)
                   : rc;
}

int prop_remove_layout_name(const struct prop_location *loc, struct prop_err *err)
{
    prop_auto_fd int fd = open(loc->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-source", "'%s' is not there",
                               loc->path);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", loc->path);
    return rewrite(loc, err);
}
