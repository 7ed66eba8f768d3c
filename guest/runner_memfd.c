/* Sealed memory files. */
#include "guest/runner_memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/secret.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3: never to be executed as a program */
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 16 /* Linux 5.1: no writes but through mappings that are there */
#endif

int runner_memfd_open(struct runner_memfd *m, struct prop_err *err)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("module", flags | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("module", flags);
    if (fd < 0)
        return prop_err_sys(err, PROP_E_NOMEM, "memory for a module");
    *m = (struct runner_memfd){fd, NULL, 0};
    return 0;
}

static int map(struct runner_memfd *m, size_t len, struct prop_err *err)
{
    if (len == 0)
        return 0;
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (p == MAP_FAILED)
        return prop_err_nomem(err);
    /* These may fail (old kernels, RLIMIT_MEMLOCK); the module still has to run. */
    (void)madvise(p, len, MADV_DONTDUMP);
    (void)madvise(p, len, MADV_DONTFORK);
    m->map = p;
    m->len = len;
    return 0;
}

static int seal(struct runner_memfd *m, struct prop_err *err)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

    if (m->map)
        (void)mlock(m->map, m->len);
    return fcntl(m->fd, F_ADD_SEALS, seals) ? prop_err_sys(err, PROP_E_IO, "seal a module's memory")
                                            : 0;
}

int runner_memfd_put(struct runner_memfd *m, const void *data, size_t len, struct prop_err *err)
{
    int rc = runner_memfd_open(m, err);

    if (rc == 0 && ftruncate(m->fd, (off_t)len))
        rc = prop_err_sys(err, PROP_E_NOMEM, "memory for a module");
    if (rc == 0)
        rc = map(m, len, err);
    if (rc == 0 && len)
        memcpy(m->map, data, len);
    if (rc == 0)
        rc = seal(m, err);
    if (rc)
        runner_memfd_release(m);
    return rc;
}

int runner_memfd_seal(struct runner_memfd *m, struct prop_err *err)
{
    struct stat st;

    if (fstat(m->fd, &st))
        return prop_err_sys(err, PROP_E_IO, "a module's memory");
    int rc = map(m, (size_t)st.st_size, err);
    return rc ? rc : seal(m, err);
}

void runner_memfd_release(struct runner_memfd *m)
{
    if (m->map) {
        prop_wipe(m->map, m->len);
        (void)munmap(m->map, m->len);
    }
    if (m->fd >= 0)
        (void)close(m->fd);
    *m = (struct runner_memfd)RUNNER_MEMFD_INIT;
}
