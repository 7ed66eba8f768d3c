/* Secrets live in libsodium's guarded allocations: a page that traps on either side, locked against
 * swap where the limit allows, wiped on free. */
#include "util/secret.h"

#include "util/limits.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct prop_secret {
    uint8_t *bytes; /* sodium_malloc, len + 1 */
    size_t len;
    size_t size;
};

int prop_secret_new(size_t len, struct prop_secret **ret, struct prop_err *err)
{
    if (len > PROP_LIMIT_SECRET)
        return prop_err_set(err, PROP_E_LIMIT, "a secret of %zu bytes is over the limit of %u", len,
                            PROP_LIMIT_SECRET);
    if (sodium_init() < 0)
        return prop_err_set(err, PROP_E_BUG, "libsodium does not start");
    struct prop_secret *s = prop_zalloc(sizeof *s);
    if (!s)
        return prop_err_nomem(err);
    s->bytes = sodium_malloc(len + 1);
    if (!s->bytes) {
        prop_free(s);
        return prop_err_nomem(err);
    }
    sodium_memzero(s->bytes, len + 1);
    s->len = s->size = len;
    *ret = s;
    return 0;
}

int prop_secret_copy(const void *data, size_t len, struct prop_secret **ret, struct prop_err *err)
{
    int rc = prop_secret_new(len, ret, err);
    if (!rc && len)
        memcpy((*ret)->bytes, data, len);
    return rc;
}

uint8_t *prop_secret_bytes(struct prop_secret *s)
{
    return s->bytes;
}

const uint8_t *prop_secret_data(const struct prop_secret *s)
{
    return s->bytes;
}

size_t prop_secret_len(const struct prop_secret *s)
{
    return s->len;
}

void prop_secret_truncate(struct prop_secret *s, size_t len)
{
    if (len >= s->len)
        return;
    sodium_memzero(s->bytes + len, s->len - len);
    s->len = len;
}

bool prop_secret_equal(const struct prop_secret *a, const struct prop_secret *b)
{
    return a->len == b->len && prop_bytes_equal(a->bytes, b->bytes, a->len);
}

bool prop_bytes_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void prop_wipe(void *p, size_t len)
{
    sodium_memzero(p, len);
}

void prop_secret_free(struct prop_secret *s)
{
    if (!s)
        return;
    sodium_free(s->bytes);
    prop_free(s);
}

/* jansson holds JWKs and tokens; its blocks carry their size so that they can be wiped. */
static void *json_alloc(size_t size)
{
    size_t *p = size > SIZE_MAX - 16 ? NULL : prop_alloc(size + 16);
    if (!p)
        return NULL;
    *p = size;
    return (char *)p + 16;
}

static void json_free(void *block)
{
    if (!block)
        return;
    char *p = (char *)block - 16;
    size_t size;
    memcpy(&size, p, sizeof size);
    prop_wipe(p, size + 16);
    prop_free(p);
}

void prop_secret_harden_process(void)
{
    struct rlimit none = { 0, 0 };
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker attaches to its own process */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    json_set_alloc_funcs(json_alloc, json_free);
    (void)umask(077);
}
