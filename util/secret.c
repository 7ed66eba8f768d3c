/* Secrets live in libsodium's guarded allocations: a page that traps on either side, locked against
 * swap where the limit allows, wiped on free. */
#include "util/secret.h"

#include "util/limits.h"

#include <fcntl.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct prop_secret {
    uint8_t *bytes; /* sodium_malloc, len + 1; or in `hidden` */
    size_t len;
    size_t size;
    void *hidden;   /* memfd_secret's pages and a guard page on either side; NULL = sodium's */
    size_t hidden_size;
};

/* ---- pages that the kernel itself does not map ----------------------------------------------- */

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* Linux 5.14; the same number everywhere */
#endif

static bool hide;

void prop_secret_hide(void)
{
    hide = true;
}

/* They are locked by nature, and counted against the limit of locked memory. */
static bool hidden_new(struct prop_secret *s, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t inner = (size + page - 1) / page * page;
    int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);

    if (fd < 0)
        return false;
    uint8_t *map = ftruncate(fd, (off_t)inner) ? MAP_FAILED
                   : mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map != MAP_FAILED && mmap(map + page, inner, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                                  fd, 0) == MAP_FAILED) {
        (void)munmap(map, inner + 2 * page);
        map = MAP_FAILED;
    }
    (void)close(fd);
    if (map == MAP_FAILED)
        return false;
    (void)madvise(map + page, inner, MADV_DONTFORK);
    s->hidden = map;
    s->hidden_size = inner + 2 * page;
    s->bytes = map + page + (inner - size) / 16 * 16; /* what runs over meets the guard */
    return true;
}

static void hidden_free(struct prop_secret *s)
{
    sodium_memzero(s->bytes, s->size + 1);
    (void)munmap(s->hidden, s->hidden_size);
}

/* ---- secrets --------------------------------------------------------------------------------- */

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
    if (!hide || !hidden_new(s, len + 1))
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
    if (s->hidden)
        hidden_free(s);
    else
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
    struct rlimit none = { PROP_SECRET_CORE_LIMIT, PROP_SECRET_CORE_LIMIT };
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* the leak checker attaches to its own process */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    json_set_alloc_funcs(json_alloc, json_free);
    (void)umask(077);
}
