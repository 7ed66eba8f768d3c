/* The only door to the heap. All of the project's own allocations pass here, so that tests can
 * fail the n-th one (builds with -DPROP_TORTURE: PROP_TEST_FAIL_ALLOC, or prop_torture), and so that
 * typed cleanups exist for everything that is owned. */
#ifndef PROP_UTIL_MEM_H
#define PROP_UTIL_MEM_H

#include <stddef.h>

/* As malloc, calloc, realloc, free, strdup, strndup. NULL when memory is out; a size of 0 gives a
 * pointer that can be freed. Arrays are checked for overflow. */
void *prop_alloc(size_t size) __attribute__((malloc, warn_unused_result));
void *prop_zalloc(size_t size) __attribute__((malloc, warn_unused_result));
void *prop_realloc_array(void *p, size_t count, size_t size) __attribute__((warn_unused_result));
char *prop_strdup(const char *s) __attribute__((malloc, warn_unused_result));
char *prop_strndup(const char *s, size_t len) __attribute__((malloc, warn_unused_result));
void prop_free(void *p);

/* Memory that starts on a page: for buffers that files are read into. What malloc gives out for
 * large sizes starts 16 bytes into a page, where processors with fast string copies take several
 * times as long to fill it from the (page-aligned) page cache. prop_free frees it. */
void *prop_alloc_pages(size_t size) __attribute__((malloc, warn_unused_result));

#ifdef PROP_TORTURE
/* The n-th allocation from now on fails; 0: none. Returns how many of the last n are still to come:
 * above 0 means that the failure was never met. */
long prop_torture(long n);
#endif

/* printf into fresh memory; NULL when memory is out. The caller frees it with prop_free. */
char *prop_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), warn_unused_result));

/* Cleanup for locals: `prop_auto_free char *p = NULL;` (any pointer from this file). */
static inline void prop_auto_free_p(void *pp)
{
    prop_free(*(void **)pp);
}
#define prop_auto_free __attribute__((cleanup(prop_auto_free_p)))

/* Declares a cleanup function for `type *` locals: PROP_DEFINE_AUTO(struct prop_x *, prop_x_free)
 * makes `prop_x_free_p`, used as __attribute__((cleanup(prop_x_free_p))). */
#define PROP_DEFINE_AUTO(type, func)                                                               \
    static inline void func##_p(type *p)                                                           \
    {                                                                                              \
        func(*p);                                                                                  \
    }

/* Hand an owned pointer over: `*ret_x = PROP_TAKE(x);` leaves x NULL. */
#define PROP_TAKE(p)                                                                               \
    __extension__({                                                                                \
        __typeof__(p) prop_taken_ = (p);                                                           \
        (p) = NULL;                                                                                \
        prop_taken_;                                                                               \
    })

#define PROP_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
