/* Memory for the decrypted module. */
#include "guest/memory.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/limits.h"
#include "util/secret.h"

int prop_guest_memory_init(struct prop_guest_memory *m, uint64_t size, struct prop_err *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (size > PROP_LIMIT_WASM_MODULE)
        return prop_err_set_id(err, PROP_E_LIMIT, "module-size",
                               "the module has %llu bytes, more than the limit of %u",
                               (unsigned long long)size, PROP_LIMIT_WASM_MODULE);
    size_t inner = ((size_t)size + page - 1) / page * page;
    size_t all = inner + 2 * page;
    uint8_t *map = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return prop_err_nomem(err);
    if (inner && mprotect(map + page, inner, PROT_READ | PROT_WRITE)) {
        (void)munmap(map, all);
        return prop_err_nomem(err);
    }
    /* These may fail (old kernels, RLIMIT_MEMLOCK); the module still has to run. */
    (void)madvise(map, all, MADV_DONTDUMP);
    (void)madvise(map, all, MADV_DONTFORK);
    (void)mlock(map + page, inner);
    *m = (struct prop_guest_memory){map, all, map + page, (size_t)size, 0};
    return 0;
}

int prop_guest_memory_append(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct prop_guest_memory *m = ctx;

    if (len > m->size - m->len)
        return prop_err_set_id(err, PROP_E_LIMIT, "module-size",
                               "the module has more than the %zu bytes its manifest states",
                               m->size);
    memcpy(m->data + m->len, data, len);
    m->len += len;
    return 0;
}

static size_t inner_size(const struct prop_guest_memory *m)
{
    return m->map_size - 2 * (size_t)(m->data - m->map);
}

int prop_guest_memory_seal(struct prop_guest_memory *m, struct prop_err *err)
{
    if (m->size && mprotect(m->data, inner_size(m), PROT_READ))
        return prop_err_sys(err, PROP_E_NOMEM, "seal the module's memory");
    return 0;
}

void prop_guest_memory_release(struct prop_guest_memory *m)
{
    if (!m->map)
        return;
    if (m->size && mprotect(m->data, inner_size(m), PROT_READ | PROT_WRITE) == 0)
        prop_wipe(m->data, m->size);
    (void)munmap(m->map, m->map_size);
    *m = (struct prop_guest_memory)PROP_GUEST_MEMORY_INIT;
}

void prop_guest_memory_lock_process(void)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;

    if (atomic_flag_test_and_set(&done))
        return;
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    /* With a finite limit later allocations would fail one day: all or nothing. */
    if (setrlimit(RLIMIT_MEMLOCK, &limit) && (getrlimit(RLIMIT_MEMLOCK, &limit) ||
                                              limit.rlim_cur != RLIM_INFINITY))
        return;
    (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}
