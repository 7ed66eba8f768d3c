/* One blob on its way into a registry (registry.md 2.3), its digest known only at its end.
 *
 * The bytes go up in one streamed PATCH; in chunks with Content-Range where the registry announces
 * OCI-Chunk-Min-Length, refuses a body for its size or its missing length, or where the stream broke.
 * After a broken connection, or a silence (twice until a blob is done), the registry is asked how far it
 * got. What it lacks is sent again from a window of the last bytes; where it reaches back further the
 * upload fails with the id "upload-lost", and a caller that can make the same bytes again rewinds it and
 * starts over (what the registry has is then skipped), another begins a new one.
 */
#ifndef PROP_OCI_UPLOAD_H
#define PROP_OCI_UPLOAD_H

#include "crypto/digest.h"
#include "oci/session.h"
#include "util/err.h"

#include <stddef.h>
#include <stdint.h>

#define PROP_UPLOAD_WINDOW (1u << 20)
#define PROP_UPLOAD_GRACE_MS 800u /* for the answer that says where an upload begun can be deleted */
#define PROP_UPLOAD_WINDOW_PIPE (2u << 20) /* where the size is unknown, nothing can be read again */

/* Where to; borrowed for the upload's life. */
struct prop_upload_to {
    struct prop_session *session;
    const char *path, *scope;
    size_t window; /* bytes, 256 KiB or more; 0 = one of the above */
    atomic_ullong *limit; /* the longest body that was not too large, learnt on the way; 0 = none is
                             known. May be NULL */
};

struct prop_upload;
/* `location`: an upload session that was begun elsewhere (taken over in every case), or NULL. `size`
 * UINT64_MAX = unknown. */
int prop_upload_begin(const struct prop_upload_to *to, char *location, uint64_t size,
                      struct prop_upload **ret, struct prop_err *err);
/* Fails: PROP_E_NETWORK (id "upload-lost", or as http's), PROP_E_REMOTE (id "bad-location",
 * "foreign-location", "bad-range", "registry-refused"...), PROP_E_NOTFOUND (id "upload-session-lost":
 * the registry forgot it again and again), PROP_E_AUTH, PROP_E_DENIED. */
int prop_upload_write(struct prop_upload *u, const void *data, size_t len, struct prop_err *err);
/* After "upload-lost": the same bytes will be written again, from the first on. PROP_E_NETWORK when
 * that was done too often. */
int prop_upload_rewind(struct prop_upload *u, struct prop_err *err);
/* Name what was written. Frees the upload in every case; a failed one is taken back. */
int prop_upload_finish(struct prop_upload *u, const struct prop_digest *digest, struct prop_err *err);
/* Give up, and delete the registry's half where it can be reached. NULL is fine. */
void prop_upload_abort(struct prop_upload *u);

/* A blob that is at hand as a whole, in two requests instead of three, or in one where the registry takes
 * it with the first (POST ?digest=, which is tried once for each session). `location` as above. `ret` false:
 * it did not work out, and is to be uploaded in pieces. Fails: as above. */
int prop_upload_put(const struct prop_upload_to *to, char *location, const void *data, size_t len,
                    const struct prop_digest *digest, bool *ret, struct prop_err *err);
/* DELETE an upload session nobody will use. A courtesy, the registry would drop it by itself some day: it
 * is not worth a long wait, and neither a signal nor a failure beside it stops it. */
void prop_upload_drop(const struct prop_upload_to *to, const char *location);

/* The Location of an answer, resolved, into *location; refused when it leads to another origin. */
int prop_upload_location(const struct prop_session *s, const struct prop_http_answer *a,
                         char **location, struct prop_err *err);
/* HEAD: is the blob there, with this size? */
int prop_upload_is_there(const struct prop_upload_to *to, const struct prop_digest *digest,
                         uint64_t size, bool *ret, struct prop_err *err);

#endif
