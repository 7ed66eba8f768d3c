/* A registry's image behind the cache: a source like others, whose manifest and layers come from
 * memory where they are there. */
#include "guest/cache.h"

#include "oci/place.h"
#include "util/limits.h"
#include "util/mem.h"

#define PIECE (256u << 10)

struct cached_src {
    struct prop_src src;
    struct prop_cache *cache;
    const struct prop_location *loc;
    const struct prop_oci_options *opts;
    struct prop_src *inner; /* opened when something is not there */
    bool broken;            /* it failed: not worth keeping */
    struct prop_buf manifest; /* once it was read: a tag is resolved once */
    char *said;
    bool (*stopped)(void *ctx);
    void *ctx;
};

static int need_inner(struct cached_src *s, struct prop_err *err)
{
    if (!s->inner)
        s->inner = prop_cache_take_source(s->cache, s->loc->text);
    return s->inner ? 0 : prop_src_open(s->loc, s->opts, &s->inner, err);
}

/* A manifest asked for by its digest, if it is there. */
static bool from_memory(struct cached_src *s)
{
    struct prop_cache_blob *b = s->src.want.len ? prop_cache_blob_find(s->cache, &s->src.want) : NULL;
    size_t len = 0;

    if (!b)
        return false;
    const void *data = prop_cache_blob_data(b, &len);
    const char *type = prop_cache_blob_type(b);
    bool ok = prop_buf_add(&s->manifest, data, len, NULL) == 0;
    if (ok && type)
        s->said = prop_strdup(type);
    prop_cache_blob_unref(s->cache, b);
    return ok;
}

static int ask_manifest(struct cached_src *s, struct prop_err *err)
{
    int rc = need_inner(s, err);

    if (rc == 0)
        rc = s->inner->ops->manifest(s->inner, &s->manifest, &s->said, err);
    s->broken = rc != 0;
    if (rc)
        prop_buf_clear(&s->manifest);
    else if (s->src.want.len)
        prop_cache_blob_keep(s->cache, &s->src.want, s->manifest.data, s->manifest.len, s->said);
    return rc;
}

static int fetch_manifest(struct cached_src *s, struct prop_err *err)
{
    struct prop_cache_tag *asking = NULL;

    if (s->src.want.len)
        return ask_manifest(s, err);
    if (prop_cache_tag_begin(s->cache, s->loc->text, &s->manifest, &s->said, &asking))
        return 0;
    int rc = ask_manifest(s, err);
    prop_cache_tag_end(s->cache, asking, rc == 0 ? &s->manifest : NULL, s->said);
    return rc;
}

/* The digest is the caller's to check; what is kept is checked when it is put away. */
static int cached_manifest(struct prop_src *src, struct prop_buf *out, char **ret_said,
                           struct prop_err *err)
{
    struct cached_src *s = (struct cached_src *)src;
    int rc = s->manifest.len || from_memory(s) ? 0 : fetch_manifest(s, err);

    if (rc == 0)
        rc = prop_buf_add(out, s->manifest.data, s->manifest.len, err);
    if (rc == 0 && s->said && !(*ret_said = prop_strdup(s->said)))
        rc = prop_err_nomem(err);
    return rc;
}

struct tee {
    struct cached_src *s;
    prop_sink_fn sink;
    void *ctx;
    struct prop_buf copy;
    bool keep;
};

static int tee_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct tee *t = ctx;

    if (t->s->stopped && t->s->stopped(t->s->ctx))
        return prop_err_set_id(err, PROP_E_INTERRUPTED, "stopped", "stopped while it was pulled");
    if (t->keep && prop_buf_add(&t->copy, data, len, NULL))
        t->keep = false;
    return t->sink(t->ctx, data, len, err);
}

static int pull(struct cached_src *s, const struct prop_descriptor *d, prop_sink_fn sink, void *ctx,
                struct prop_err *err)
{
    struct tee t = { s, sink, ctx, PROP_BUF_INIT(PROP_LIMIT_WASM_MODULE),
                     prop_cache_blob_fits(s->cache, d->size) };
    int rc = need_inner(s, err);

    if (rc == 0)
        rc = s->inner->ops->blob(s->inner, d, tee_sink, &t, err);
    s->broken = rc != 0;
    if (rc == 0) {
        prop_cache_count(s->cache, PROP_STAT_PULLS);
        if (t.keep)
            prop_cache_blob_keep(s->cache, &d->digest, t.copy.data, t.copy.len, NULL);
    }
    prop_buf_release(&t.copy);
    return rc;
}

static int cached_blob(struct prop_src *src, const struct prop_descriptor *d, prop_sink_fn sink,
                       void *ctx, struct prop_err *err)
{
    struct cached_src *s = (struct cached_src *)src;
    struct prop_cache_blob *b = prop_cache_blob_find(s->cache, &d->digest);
    size_t len = 0;
    int rc = 0;

    if (!b)
        return pull(s, d, sink, ctx, err);
    prop_cache_count(s->cache, PROP_STAT_BLOB_HITS);
    const uint8_t *data = prop_cache_blob_data(b, &len);
    for (size_t at = 0; rc == 0 && at < len; at += PIECE)
        rc = sink(ctx, data + at, len - at < PIECE ? len - at : PIECE, err);
    prop_cache_blob_unref(s->cache, b);
    return rc;
}

static void cached_free(struct prop_src *src)
{
    struct cached_src *s = (struct cached_src *)src;

    if (s->inner && s->broken)
        prop_src_free(s->inner);
    else if (s->inner)
        prop_cache_give_source(s->cache, s->loc->text, s->inner);
    prop_buf_release(&s->manifest);
    prop_free(s->said);
    prop_free(s);
}

int prop_cache_open(struct prop_cache *c, const struct prop_location *loc,
                    const struct prop_oci_options *opts, bool (*stopped)(void *ctx), void *ctx,
                    struct prop_src **ret, struct prop_err *err)
{
    static const struct prop_src_ops ops = { .manifest = cached_manifest, .blob = cached_blob,
                                             .free = cached_free, .remote = true };
    struct cached_src *s = prop_zalloc(sizeof *s);

    if (!s)
        return prop_err_nomem(err);
    s->src.ops = &ops;
    s->manifest = (struct prop_buf)PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    s->src.text = prop_strdup(loc->text);
    s->src.want = loc->ref.digest;
    s->cache = c;
    s->loc = loc;
    s->opts = opts;
    s->stopped = stopped;
    s->ctx = ctx;
    if (!s->src.text) {
        prop_src_free(&s->src);
        return prop_err_nomem(err);
    }
    *ret = &s->src;
    return 0;
}
