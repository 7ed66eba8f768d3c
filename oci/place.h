/* Inside the oci room: what a kind of place has to do. image.c holds the common part (digest and
 * size checks, progress, messages), one file per kind the rest. */
#ifndef PROP_OCI_PLACE_H
#define PROP_OCI_PLACE_H

#include "oci/image.h"

#include <stdbool.h>
#include <stdint.h>

/* Pieces in which blobs are moved. */
#define PROP_OCI_PIECE (64u << 10) /* fits the second-level cache, so the kernel's copy is read warm */

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
};

struct prop_src {
    const struct prop_src_ops *ops;
    const struct prop_progress *progress;
    char *text;              /* as typed, for messages */
    struct prop_digest want; /* digest that was asked for; len 0 = none */
    char *title;             /* bare sources only */
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
};

struct prop_dst {
    const struct prop_dst_ops *ops;
    const struct prop_progress *progress;
    char *text;
    bool have_manifest;
};

/* First member of every kind's blob. */
struct prop_dst_blob {
    struct prop_dst *dst;
    uint64_t size, written;
};

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
