/* Manifests into a registry, under their digest and under a tag. */
#include "oci/registry_put.h"

#include "oci/registry.h"
#include "util/mem.h"
#include "util/stop.h"

#include <string.h>
#include <time.h>

#define MOTION_TRIES 5
#define UNCLEAR_TRIES 4

int prop_registry_committed(const struct prop_session *s, const struct prop_http_answer *a,
                            const struct prop_digest *digest, const char *what,
                            struct prop_err *err)
{
    const char *said = prop_http_header(a, "docker-content-digest", 0);
    struct prop_digest got;

    if (a->status != 201 && a->status != 200 && a->status != 204)
        return prop_session_refused(s, a, what, "repository-not-found", err);
    if (said == NULL || prop_digest_parse(said, &got, NULL) < 0 || got.alg != digest->alg)
        return 0;
    return prop_digest_check(&got, digest, what, err);
}

/* Has the registry lost sight of a blob that was just there? Debian's does, for a moment, when somebody
 * else writes the same one at the same time ("{}", the config that all modules share). */
static bool blob_in_motion(const struct prop_http_answer *a)
{
    static const char *const codes[] = { "DIGEST_INVALID", "BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN" };

    for (size_t i = 0; i < PROP_ARRAY_LEN(codes); i++)
        if ((a->status == 400 || a->status == 404) && a->body.len > 0 &&
            strstr(prop_buf_str(&a->body), codes[i]) != NULL)
            return true;
    return false;
}

static int put_once(struct prop_session *s, const char *url, const char *scope,
                    const struct prop_registry_put *m, struct prop_http_answer *a,
                    struct prop_err *err)
{
    prop_auto_free char *type = prop_asprintf("Content-Type: %s", m->media_type);
    const char *headers[] = { type, NULL };
    struct prop_http_request rq = { .method = "PUT", .url = url, .headers = headers,
                                    .body = m->bytes, .body_len = m->len, .once = true };

    return type == NULL ? prop_err_nomem(err) : prop_session_do(s, &rq, scope, a, err);
}

/* Does the name stand for this manifest? */
static bool is_there(struct prop_session *s, const char *url, const char *scope,
                     const struct prop_digest *digest)
{
    prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
    struct prop_http_request rq = { .method = "HEAD", .url = url, .headers = prop_registry_accept,
                                    .idempotent = true, .follow = true };
    struct prop_digest got;
    const char *said;

    if (prop_session_do(s, &rq, scope, &a, NULL) < 0 || a.status != 200)
        return false;
    said = prop_http_header(&a, "docker-content-digest", 0);
    return said != NULL && prop_digest_parse(said, &got, NULL) == 0 &&
           prop_digest_equal(&got, digest);
}

static int wait_ms(struct prop_session *s, unsigned tries, const struct prop_http_answer *a,
                   struct prop_err *err)
{
    const struct timespec little = { 0, 50000000L * (long)tries };
    struct prop_http *h = NULL;
    int rc = prop_stop_check(err);

    if (rc == 0 && a != NULL && blob_in_motion(a)) {
        (void)nanosleep(&little, NULL);
        return 0;
    }
    if (rc == 0)
        rc = prop_session_take_http(s, &h, err);
    if (rc == 0)
        rc = prop_http_wait(h, tries - 1, a, err);
    prop_session_give_http(s, h);
    return rc;
}

/* After an unclear answer the registry is asked before it is told again: somebody else may have moved
 * the name meanwhile, and must not lose it to a repetition (registry.md 2.5). */
static int put_until_clear(struct prop_session *s, const char *url, const char *scope,
                           const struct prop_registry_put *m, struct prop_err *err)
{
    for (unsigned tries = 1;; tries++) {
        prop_auto_answer struct prop_http_answer a = PROP_HTTP_ANSWER_INIT;
        struct prop_err failure = PROP_ERR_INIT;
        int rc = put_once(s, url, scope, m, &a, &failure);
        bool motion = rc == 0 && blob_in_motion(&a), unclear;

        unclear = prop_http_transient(rc, &a, &failure);
        /* after a silence it is asked, too, and not told again */
        if ((unclear || rc == PROP_E_NETWORK) && is_there(s, url, scope, m->digest))
            return 0;
        if ((!unclear && !motion) || tries == (motion ? MOTION_TRIES : UNCLEAR_TRIES)) {
            if (rc == 0)
                return prop_registry_committed(s, &a, m->digest, "manifest", err);
            if (err != NULL)
                *err = failure;
            return rc;
        }
        rc = wait_ms(s, tries, rc == 0 ? &a : NULL, err);
        if (rc < 0)
            return rc;
    }
}

int prop_registry_put_manifest(struct prop_session *s, const char *path, const char *scope,
                               const struct prop_registry_put *m, struct prop_err *err)
{
    prop_auto_free char *rest = prop_asprintf("manifests/%s", m->name);
    prop_auto_free char *url = rest != NULL ? prop_session_url(s, path, rest) : NULL;

    return url == NULL ? prop_err_nomem(err) : put_until_clear(s, url, scope, m, err);
}
