/* Files are told apart by size and time, and by digest where hashing is a matter of milliseconds; an
 * image by its manifest. */
#include "publish/source.h"

#include "publish/record.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>
#include <sys/stat.h>

enum { small_bytes = 4 << 20 };

static int hash_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_hash_update(ctx, data, len, err);
}

/* Is the source a file that can be read twice? */
static bool is_file(const struct prop_publish_state *s, struct stat *st)
{
    const char *path = s->p->src->path;
    return s->p->src->transport == PROP_T_FILE && path != NULL && strcmp(path, "-") != 0 &&
           stat(path, st) == 0 && S_ISREG(st->st_mode);
}

int prop_publish_source_hash(const struct prop_publish_state *s, struct prop_digest *ret,
                             bool *ret_known, struct prop_err *err)
{
    struct stat st;
    *ret_known = false;
    if (!is_file(s, &st))
        return 0;
    prop_auto_src struct prop_src *again = NULL;
    prop_auto_hash struct prop_hash *hash = NULL;
    int rc = prop_src_open(s->p->src, s->p->oci, &again, err);
    if (rc == 0)
        rc = prop_hash_new(PROP_SHA256, &hash, err);
    if (rc == 0)
        rc = prop_src_bare_read(again, hash_sink, hash, err);
    if (rc == 0)
        rc = prop_hash_final(hash, ret, err);
    *ret_known = rc == 0;
    return rc;
}

static long long mtime_ns(const struct stat *st)
{
    return (long long)st->st_mtim.tv_sec * 1000000000LL + (long long)st->st_mtim.tv_nsec;
}

static json_t *pack(const struct prop_publish_state *s, const struct stat *st,
                    const struct prop_digest *digest)
{
    char text[PROP_DIGEST_TEXT];
    const char *shown = digest != NULL ? prop_digest_format(digest, text) : NULL;
    if (st == NULL)
        return json_pack("{s:s,s:b,s:s*}", "text", s->p->src->text, "pipe", digest == NULL,
                         "digest", shown);
    return json_pack("{s:s,s:I,s:I,s:s*}", "text", s->p->src->text, "size",
                     (json_int_t)st->st_size, "mtime_ns", (json_int_t)mtime_ns(st), "digest",
                     shown);
}

static int stamp_image(const struct prop_publish_state *s, struct prop_digest *ret,
                       struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_src struct prop_src *again = NULL;
    int rc = prop_src_open(s->p->src, s->p->oci, &again, err);
    return rc == 0 ? prop_src_manifest(again, &bytes, NULL, ret, err) : rc;
}

int prop_publish_source_stamp(const struct prop_publish_state *s, json_t **ret,
                              struct prop_err *err)
{
    struct stat st;
    struct prop_digest digest;
    bool known = false;
    bool file = is_file(s, &st);
    int rc = 0;
    if (s->p->src->transport != PROP_T_FILE) {
        rc = stamp_image(s, &digest, err);
        known = rc == 0;
    } else if (file && st.st_size <= small_bytes) {
        rc = prop_publish_source_hash(s, &digest, &known, err);
    }
    if (rc != 0)
        return rc;
    json_t *stamp = pack(s, file ? &st : NULL, known ? &digest : NULL);
    if (stamp == NULL)
        return prop_err_nomem(err);
    *ret = stamp;
    return 0;
}

/* --- later ------------------------------------------------------------------------------------- */

static int changed(const struct prop_publish_state *s, struct prop_err *err)
{
    (void)prop_err_set_id(err, PROP_E_EXISTS, "source-changed",
                          "'%s' is not what it was when run %lld began", s->p->src->text,
                          (long long)s->run);
    return prop_err_hint(err, "'proppush publish --abort %lld' takes the run back, then publish the "
                              "new one",
                         (long long)s->run);
}

static int check_digest(const struct prop_publish_state *s, const struct prop_digest *want,
                        struct prop_err *err)
{
    struct prop_digest now;
    bool known = false;
    int rc = s->p->src->transport != PROP_T_FILE ? stamp_image(s, &now, err)
                                                 : prop_publish_source_hash(s, &now, &known, err);
    if (rc != 0)
        return rc;
    return prop_digest_equal(&now, want) ? 0 : changed(s, err);
}

int prop_publish_source_check(const struct prop_publish_state *s, bool sent, struct prop_err *err)
{
    const json_t *then = json_object_get(s->plan, "source");
    const json_t *image = prop_publish_record_of(s, "image", true);
    struct prop_digest want;
    struct stat st;
    bool bare = s->p->src->transport == PROP_T_FILE;
    bool file = is_file(s, &st);
    if (json_is_true(json_object_get(then, "pipe"))) {
        if (sent)
            return 0;
        (void)prop_err_set_id(err, PROP_E_USAGE, "source-is-pipe",
                              "the module came through a pipe and was not sent as a whole");
        return prop_err_hint(err, "'proppush publish --abort %lld', then publish again",
                             (long long)s->run);
    }
    if (sent && bare && !file)
        return 0; /* gone; nobody needs it any more */
    if (!bare && !sent && prop_publish_record_digest(then, "digest", &want))
        return check_digest(s, &want, err);
    if (!bare)
        return 0;
    if (file && json_integer_value(json_object_get(then, "size")) == (json_int_t)st.st_size &&
        json_integer_value(json_object_get(then, "mtime_ns")) == (json_int_t)mtime_ns(&st))
        return 0;
    if (file && (prop_publish_record_digest(then, "digest", &want) ||
                 prop_publish_record_digest(image, "plain", &want)))
        return check_digest(s, &want, err);
    return file ? changed(s, err)
                : prop_err_set_id(err, PROP_E_NOTFOUND, "no-such-source", "'%s' is not there",
                                  s->p->src->text);
}
