/* The heap. In builds with -DPROP_TORTURE the n-th allocation of the process fails, n from the
 * environment variable PROP_TEST_FAIL_ALLOC. */
#include "util/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef PROP_TORTURE
static long left = -1; /* -1: the environment was not asked yet */

long prop_torture(long n)
{
    long before = left;
    left = n;
    return before;
}

static int refused(void)
{
    if (left < 0) {
        const char *text = getenv("PROP_TEST_FAIL_ALLOC");
        left = text ? strtol(text, NULL, 10) : 0;
    }
    return left > 0 && --left == 0;
}
#else
static int refused(void)
{
    return 0;
}
#endif

void *prop_alloc(size_t size)
{
    return refused() ? NULL : malloc(size ? size : 1);
}

void *prop_zalloc(size_t size)
{
    return refused() ? NULL : calloc(1, size ? size : 1);
}

void *prop_alloc_pages(size_t size)
{
    void *p = NULL;
    if (refused() || posix_memalign(&p, (size_t)sysconf(_SC_PAGESIZE), size ? size : 1) != 0)
        return NULL;
    return p;
}

void *prop_realloc_array(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || refused())
        return NULL;
    return realloc(p, bytes ? bytes : 1);
}

char *prop_strdup(const char *s)
{
    return prop_strndup(s, strlen(s));
}

char *prop_strndup(const char *s, size_t len)
{
    char *p = prop_alloc(len + 1);
    if (p) {
        memcpy(p, s, len);
        p[len] = 0;
    }
    return p;
}

void prop_free(void *p)
{
    free(p);
}

char *prop_asprintf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : prop_alloc((size_t)n + 1);
    if (p)
        (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
