/* Places images are read from and written to, behind one interface: registry, layout, dir, file.
 *
 * Reading: open, manifest, blobs (in any order; each is streamed to a callback and its size and
 * digest are checked before the call returns 0). Writing: open, blobs, manifest by digest, name
 * last. Nothing is named before prop_dst_tag; a destination that is released without it leaves at
 * most unreferenced blobs (and removes the temporary files and the folder it made itself).
 */
#ifndef PROP_OCI_IMAGE_H
#define PROP_OCI_IMAGE_H

#include "oci/manifest.h"
#include "oci/ref.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/stop.h"

#include <stdbool.h>
#include <stdint.h>

#define PROP_OCI_PARALLEL 3u

/* How registries are reached; zero is the safe default. Strings are borrowed for the open's life. */
struct prop_oci_options {
    const char *const *insecure_registries; /* "host[:port]" that may be plain HTTP */
    size_t n_insecure;
    const char *authfile;     /* credentials file; NULL = the usual places (registry.md 4) */
    const char *ca_cert;      /* extra root */
    const char *cert_dir;     /* instead of the certs.d search */
    bool no_proxy;
    const char *user_agent;
    uint64_t stall_timeout_ms; /* a registry silent for so long has failed; 0 = http/'s default */
    uint64_t deadline_ms;      /* of prop_now_ms: all requests have failed by then; 0 = no end */
    unsigned parallel;         /* blobs moved at once; 0 = PROP_OCI_PARALLEL, 1 = one by one */
    /* What a registry warns of (`Warning: 299`), once per text; `text` is printable. May be NULL, may be
     * called by another thread. */
    void (*warn)(void *ctx, const char *registry, const char *text);
    void *warn_ctx;
    const struct prop_progress *progress;
};

typedef int (*prop_sink_fn)(void *ctx, const void *data, size_t len, struct prop_err *err);

struct prop_src;
int prop_src_open(const struct prop_location *loc, const struct prop_oci_options *opts,
                  struct prop_src **ret, struct prop_err *err);
/* The manifest's bytes as stored, its media type (owned, prop_free) and digest; checked against
 * the digest asked for. For PROP_T_FILE a wasm-to-oci manifest is made, with the layer's digest
 * known only after the file was read once: see prop_src_is_bare.
 * Fails: PROP_E_NOTFOUND (id "image-not-found"), PROP_E_VERIFY, PROP_E_INPUT, network codes. */
int prop_src_manifest(struct prop_src *src, struct prop_buf *out, char **ret_media_type,
                      struct prop_digest *ret_digest, struct prop_err *err);
/* True for a bare file or stdin: there is no manifest, only prop_src_bare_read's bytes. */
bool prop_src_is_bare(const struct prop_src *src);
/* Stream a bare source's bytes; ret_title is the file's base name (owned; "module.wasm" for "-"). */
int prop_src_bare_read(struct prop_src *src, prop_sink_fn sink, void *ctx, struct prop_err *err);
const char *prop_src_bare_title(const struct prop_src *src);
/* How many bytes prop_src_bare_read will give, for prop_dst_blob_begin (uploads of known length
 * need no chunked coding, which some registries lack); UINT64_MAX for pipes. Once asked, reading
 * fails with PROP_E_IO (id "source-changed") when the file has become another length. */
uint64_t prop_src_bare_size(struct prop_src *src);
/* Another title for a bare source ("" = none). */
int prop_src_set_title(struct prop_src *src, const char *title, struct prop_err *err);
/* Demand this digest of the manifest (what a tag must stand for). PROP_E_USAGE for a
 * bare source. */
int prop_src_expect(struct prop_src *src, const struct prop_digest *digest, struct prop_err *err);
/* Stream one blob. Size and digest are checked while it flows: the last bytes reach the sink only
 * together with the verdict, so a sink must not release anything before this returns 0.
 * Fails: PROP_E_NOTFOUND (id "blob-not-found"), PROP_E_VERIFY (id "digest-mismatch"), PROP_E_REMOTE
 * (id "blob-truncated"), what the sink failed with. */
int prop_src_blob(struct prop_src *src, const struct prop_descriptor *d, prop_sink_fn sink,
                  void *ctx, struct prop_err *err);
/* The manifest of one image of an index (registries keep these apart from blobs), its size and digest
 * checked against the descriptor. ret_media_type (may be NULL) as prop_src_manifest.
 * Fails: as prop_src_manifest, PROP_E_VERIFY (id "size-mismatch", "digest-mismatch"). */
int prop_src_child(struct prop_src *src, const struct prop_descriptor *d, struct prop_buf *out,
                   char **ret_media_type, struct prop_err *err);
void prop_src_free(struct prop_src *src);
PROP_DEFINE_AUTO(struct prop_src *, prop_src_free)
#define prop_auto_src __attribute__((cleanup(prop_src_free_p)))

struct prop_dst;
struct prop_dst_blob;
int prop_dst_open(const struct prop_location *loc, const struct prop_oci_options *opts,
                  struct prop_dst **ret, struct prop_err *err);
/* The digest the destination's name points at now; PROP_E_NOTFOUND when there is none. */
int prop_dst_current(struct prop_dst *dst, struct prop_digest *ret, struct prop_err *err);
/* Is the blob there already? */
int prop_dst_has_blob(struct prop_dst *dst, const struct prop_digest *digest, uint64_t size,
                      bool *ret, struct prop_err *err);
/* Begin a blob whose digest need not be known yet; `size` UINT64_MAX = unknown. */
int prop_dst_blob_begin(struct prop_dst *dst, uint64_t size, struct prop_dst_blob **ret,
                        struct prop_err *err);
int prop_dst_blob_write(struct prop_dst_blob *b, const void *data, size_t len,
                        struct prop_err *err);
/* Finish under this digest, which the caller computed over what it wrote (nothing is hashed a
 * second time here; a registry checks it). Frees `b` in every case. */
int prop_dst_blob_finish(struct prop_dst_blob *b, const struct prop_digest *digest,
                         struct prop_err *err);
void prop_dst_blob_abort(struct prop_dst_blob *b);
/* Small blob in one go (skipped when there). */
int prop_dst_blob_put(struct prop_dst *dst, const void *data, size_t len,
                      const struct prop_digest *digest, struct prop_err *err);
/* Put the manifest under its digest; then give it the destination's name, last. */
int prop_dst_manifest(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                      const struct prop_digest *digest, struct prop_err *err);
int prop_dst_tag(struct prop_dst *dst, struct prop_err *err);
/* Put the manifest of one image of an index, before the index itself. */
int prop_dst_child(struct prop_dst *dst, const void *bytes, size_t len, const char *media_type,
                   const struct prop_digest *digest, struct prop_err *err);
/* Read a manifest that was put, as the destination holds it before it is named: its digest is
 * checked. A sink holds nothing: PROP_E_NOTFOUND. */
int prop_dst_read_back(struct prop_dst *dst, const struct prop_digest *digest, struct prop_buf *out,
                       struct prop_err *err);
void prop_dst_free(struct prop_dst *dst);
PROP_DEFINE_AUTO(struct prop_dst *, prop_dst_free)
#define prop_auto_dst __attribute__((cleanup(prop_dst_free_p)))

/* Are they one repository, layout or folder? */
bool prop_same_place(const struct prop_src *src, const struct prop_dst *dst);
/* Copy one blob unless it is there, checked on the way. In one place nothing is read: what a
 * manifest there names is there. */
int prop_blob_copy(struct prop_src *src, struct prop_dst *dst, const struct prop_descriptor *d,
                   struct prop_err *err);

/* Copy the blobs of an image, layers and config, several at once where both places can; the first
 * failure ends the others. */
int prop_manifest_blobs_copy(struct prop_src *src, struct prop_dst *dst,
                             const struct prop_manifest *m, struct prop_err *err);

/* Copy a whole image (manifest bytes untouched), digests checked; or pack a bare module as a plain
 * wasm-to-oci artifact. ret_digest may be NULL. */
int prop_image_copy(struct prop_src *src, struct prop_dst *dst, struct prop_digest *ret_digest,
                    struct prop_err *err);

#endif
