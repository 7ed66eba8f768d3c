/* Inside the oci room: what a kind of place has to do. image.c holds the common part (digest and
 * size checks, progress, messages), one file per kind the rest. */
#ifndef PROP_OCI_PLACE_H
#define PROP_OCI_PLACE_H

#include "oci/image.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Pieces in which blobs are moved. */
#define PROP_OCI_PIECE (64u << 10) /* fits the second-level cache, so the kernel's copy is read warm */

/* Up to here a blob is held in memory if that saves a request. */
#define PROP_OCI_SMALL (128u << 10)

struct prop_src_ops {
    /* Append the manifest; `ret_said` is the type that was said beside it, or stays NULL. */
    int (*manifest)(struct prop_src *src, struct prop_buf *out, char **ret_said,
                    struct prop_err *err);
    /* Stream a blob; sizes and digests are checked by the caller, which ends a stream that is too
     * long by failing the sink. */
    int (*blob)(struct prop_src *src, const struct prop_descriptor *d, prop_sink_fn sink, void *ctx,
                struct prop_err *err);
    void (*free)(struct prop_src *src);
    bool remote; /* a short blob is the server's fault */
    /* As `manifest`, for one image of an index; NULL: it is kept as a blob. */
    int (*child)(struct prop_src *src, const struct prop_descriptor *d, struct prop_buf *out,
                 char **ret_said, struct prop_err *err);
    /* Blobs may be read by several threads at once. */
    bool parallel;
    /* From now on everything under way ends (or no longer); NULL: it does not wait for others. */
    void (*cancel)(struct prop_src *src, bool cancelled);
};

struct prop_src {
    const struct prop_src_ops *ops;
    const struct prop_progress *progress;
    char *text;              /* as typed, for messages */
    struct prop_digest want; /* digest that was asked for; len 0 = none */
    char *title;             /* bare sources only */
    char *place;             /* the same text as a destination's: the same place; NULL = unknown */
    struct prop_sum *sum;    /* of blobs read beside each other, or NULL; borrowed */
};

struct prop_dst_ops {
    int (*current)(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err);
    int (*has_blob)(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                    bool *ret, struct prop_err *err);
    int (*blob_begin)(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                      struct prop_err *err);
    int (*blob_write)(struct prop_dst_blob *b, const void *data, size_t len, struct prop_err *err);
    /* Both free b. */
    int (*blob_finish)(struct prop_dst_blob *b, const struct prop_digest *digest,
                       struct prop_err *err);
    void (*blob_abort)(struct prop_dst_blob *b);
    int (*manifest)(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                    const struct prop_digest *digest, struct prop_err *err);
    int (*tag)(struct prop_dst *dst, struct prop_err *err);
    void (*free)(struct prop_dst *dst);
    /* A blob of the image that is here now goes into the new one: see that it will be there, without
     * reading it. NULL: it is there. */
    int (*keep)(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size, bool *ret,
                struct prop_err *err);
    /* The manifest of one image of an index; NULL: a blob like others. */
    int (*child)(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                 const struct prop_digest *digest, struct prop_err *err);
    /* Append a manifest written before, as it is kept; NULL: nothing is kept. */
    int (*read_back)(struct prop_dst *dst, const struct prop_digest *digest, struct prop_buf *out,
                     struct prop_err *err);
    /* Take a blob over from another repository of this registry, if it will; NULL: there is no such
     * thing. */
    int (*mount)(struct prop_dst *dst, const struct prop_digest *digest, const char *from, bool *ret,
                 struct prop_err *err);
    /* After blob_write failed with the id "upload-lost": the same bytes come again, from the first on.
     * NULL: that cannot happen. */
    int (*blob_rewind)(struct prop_dst_blob *b, struct prop_err *err);
    void (*cancel)(struct prop_dst *dst, bool cancelled); /* as a source's */
    bool parallel; /* blobs may be written by several threads at once, each its own */
    /* A small blob in one go, when it is not there. `ret` false: begin, write and finish it. NULL: there is
     * no shorter way. */
    int (*blob_put)(struct prop_dst *dst, const void *data, size_t len,
                    const struct prop_digest *digest, bool *ret, struct prop_err *err);
};

struct prop_dst {
    const struct prop_dst_ops *ops;
    const struct prop_progress *progress;
    char *text;
    char *place;
    bool have_manifest;
    unsigned parallel; /* blobs at once */
    size_t window;     /* bytes of a blob that are kept for sending them again; 0 = the usual */
};

/* First member of every kind's blob. */
struct prop_dst_blob {
    struct prop_dst *dst;
    uint64_t size, written;
};

/* As prop_dst_blob_put of a blob that is known not to be there. */
int prop_dst_blob_put_new(struct prop_dst *dst, const void *data, size_t len,
                          const struct prop_digest *digest, struct prop_err *err);
/* Begin the same blob again, see blob_rewind. */
int prop_dst_blob_rewind(struct prop_dst_blob *b, struct prop_err *err);

/* How far several blobs are together. */
struct prop_sum {
    pthread_mutex_t lock;
    const struct prop_progress *progress;
    uint64_t done, total;
    atomic_bool stop;
    bool lean; /* connections need memory: each blob is hashed by the thread that moves it */
};
/* `delta` bytes more; may be less than nothing, for a blob that is begun again. Fails once `stop` is set:
 * PROP_E_INTERRUPTED (id "cancelled"). */
int prop_sum_add(struct prop_sum *s, int64_t delta, struct prop_err *err);

/* Openers, one per kind; `text` and `progress` are filled in by image.c. */
int prop_src_open_registry(const struct prop_location *loc, const struct prop_oci_options *opts,
                           struct prop_src **ret, struct prop_err *err);
int prop_src_open_layout(const char *dir, const char *name, struct prop_src **ret,
                         struct prop_err *err);
int prop_src_open_archive(const char *file, const char *name, struct prop_src **ret,
                          struct prop_err *err);
int prop_src_open_dir(const char *dir, struct prop_src **ret, struct prop_err *err);
int prop_src_open_file(const char *path, struct prop_src **ret, struct prop_err *err);
int prop_dst_open_registry(const struct prop_location *loc, const struct prop_oci_options *opts,
                           struct prop_dst **ret, struct prop_err *err);
int prop_dst_open_layout(const char *dir, const char *name, struct prop_dst **ret,
                         struct prop_err *err);
int prop_dst_open_archive(const char *file, const char *name, struct prop_dst **ret,
                          struct prop_err *err);
int prop_dst_open_dir(const char *dir, struct prop_dst **ret, struct prop_err *err);
int prop_dst_open_sink(struct prop_dst **ret, struct prop_err *err);

/* Stream a bare file ("-" is stdin). */
int prop_file_stream(const char *path, prop_sink_fn sink, void *ctx, struct prop_err *err);

#endif
