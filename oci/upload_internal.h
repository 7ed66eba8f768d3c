/* Between upload.c (bytes), upload_session.c (the registry's half) and upload_resume.c (failures). */
#ifndef PROP_OCI_UPLOAD_INTERNAL_H
#define PROP_OCI_UPLOAD_INTERNAL_H

#include "oci/upload.h"
#include "oci/window.h"

#include <stdbool.h>

struct prop_upload {
    struct prop_upload_to to;
    char *location;           /* of the registry's session; NULL = to be begun */
    uint64_t size;            /* UINT64_MAX = unknown */
    uint64_t written;         /* bytes the caller gave */
    uint64_t sent;            /* bytes given to the registry, some perhaps lost */
    struct prop_window window;/* ends at `written` */
    bool chunked;             /* PATCH by PATCH with Content-Range */
    bool must_chunk;          /* asked for by the registry, not only tried since the stream broke */
    uint64_t chunk, chunk_min;
    /* the PATCH under way */
    struct prop_http *http;
    struct prop_http_upload *patch;
    const struct prop_secret *authorization;
    uint64_t first, end;      /* [first, end); end UINT64_MAX = until the caller is done */
    bool patched;             /* there was one */
    /* failures */
    uint64_t reached;         /* furthest offset the registry ever said it had */
    unsigned tries;           /* without getting further */
    unsigned sessions, failures, rewinds;
    bool renewed;             /* a 401 was answered, without getting further since */
    bool lost;                /* needs bytes that are gone */
};

/* --- upload_session.c --- */

/* "<location>?digest=..."; NULL when memory is out. */
char *prop_upload_commit_url(const char *location, const struct prop_digest *digest);
/* POST, unless there is a session. */
int prop_upload_open(struct prop_upload *u, struct prop_err *err);
/* How far did the registry get? `ret` false: it cannot be told, the session is of no use. */
int prop_upload_ask(struct prop_upload *u, uint64_t *ret_offset, bool *ret, struct prop_err *err);
/* DELETE the session and forget it. */
void prop_upload_close(struct prop_upload *u);
/* The end of a Range header "0-N" as a count; false when it says nothing of use ("0-0" is sent for no
 * byte and for one). */
bool prop_upload_range(const struct prop_http_answer *a, uint64_t *ret);

/* --- upload_resume.c --- */

/* A PATCH did not go through: with a failure (rc < 0, told by `failure`), or an answer that is no
 * acceptance. Returns 0 when `sent` was set back to what the registry has and sending may go on. */
int prop_upload_recover(struct prop_upload *u, int rc, const struct prop_http_answer *a,
                        const struct prop_err *failure, struct prop_err *err);
/* The session is gone: prepare for another one from the first byte. */
int prop_upload_start_over(struct prop_upload *u, const struct prop_err *why, struct prop_err *err);

#endif
