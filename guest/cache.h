/* What the service keeps in memory between tasks, all of it bounded: encrypted layers and manifests by
 * digest, compiled programs, and open connections to registries. Nothing decrypted is in here but the
 * programs, and those are given only to tasks whose key was fetched and fitted again. */
#ifndef PROP_GUEST_CACHE_H
#define PROP_GUEST_CACHE_H

#include "guest/run.h"
#include "guest/stats.h"
#include "oci/image.h"
#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prop_cache;
/* `max_bytes` of layers and manifests, and as much again of programs; the least recently used go
 * first. `stats` (may be NULL) is told of hits and pulls. */
int prop_cache_new(uint64_t max_bytes, struct prop_stats *stats, struct prop_cache **ret,
                   struct prop_err *err);
void prop_cache_free(struct prop_cache *c);
uint64_t prop_cache_bytes(struct prop_cache *c);

/* One load by one thread: prop_guest_load's hooks on the cache. While one thread compiles a program,
 * others that want the same wait for it instead of pulling and compiling it too. */
struct prop_cache_load {
    struct prop_cache *cache;
    bool fuel;
    struct prop_cache_flight *flight; /* what this thread is making */
    struct prop_guest_cache hooks;
};
/* `l` must stay where it is until prop_cache_load_end, which is due after prop_guest_load. `fuel`: the
 * program is to count fuel; the same module may be kept in both forms. */
void prop_cache_load_begin(struct prop_cache *c, bool fuel, struct prop_cache_load *l);
void prop_cache_load_end(struct prop_cache_load *l);

/* Bytes by digest. find: a copy of the pointer that stays good until prop_cache_blob_unref; NULL =
 * none. keep: copied, after its digest was checked; larger than a quarter of the room is not kept. */
struct prop_cache_blob;
struct prop_cache_blob *prop_cache_blob_find(struct prop_cache *c, const struct prop_digest *digest);
void prop_cache_blob_unref(struct prop_cache *c, struct prop_cache_blob *b);
const void *prop_cache_blob_data(const struct prop_cache_blob *b, size_t *ret_len);
/* The media type it was said to have, or NULL; borrowed. */
const char *prop_cache_blob_type(const struct prop_cache_blob *b);
void prop_cache_blob_keep(struct prop_cache *c, const struct prop_digest *digest, const void *data,
                          size_t len, const char *type);
/* Is there any point in collecting so many bytes for prop_cache_blob_keep? */
bool prop_cache_blob_fits(const struct prop_cache *c, uint64_t size);

/* An image of a registry as the cache sees it: what it has is not asked for again. A reference with a
 * tag is resolved anew each time (one request, shared by those that come while it is under way); one with a digest is not. Connections are reused.
 * `stopped` (may be NULL) is asked while a layer comes in and ends it. */
int prop_cache_open(struct prop_cache *c, const struct prop_location *loc,
                    const struct prop_oci_options *opts, bool (*stopped)(void *ctx), void *ctx,
                    struct prop_src **ret, struct prop_err *err);

/* --- for cache_image.c --- */
/* One question to the registry for all who ask for the manifest of `text` (a tag) at the same time.
 * begin: waits for who is asking already; true when that brought an answer (copied into `out` and
 * *ret_said, owned). False: ask, and tell the others by prop_cache_tag_end where *ret_asking is not
 * NULL (`bytes` NULL = it failed, and each asks for itself). */
struct prop_cache_tag;
bool prop_cache_tag_begin(struct prop_cache *c, const char *text, struct prop_buf *out, char **ret_said,
                          struct prop_cache_tag **ret_asking);
void prop_cache_tag_end(struct prop_cache *c, struct prop_cache_tag *asking,
                        const struct prop_buf *bytes, const char *said);
/* An open source of `text` that nobody uses, or NULL; and back, to be used again. */
struct prop_src *prop_cache_take_source(struct prop_cache *c, const char *text);
void prop_cache_give_source(struct prop_cache *c, const char *text, struct prop_src *src);
void prop_cache_count(struct prop_cache *c, enum prop_stat which);

#endif
