/* The system-call filters, made once with libseccomp and kept as the programs the kernel takes: a
 * child loads its own in one call. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "sandbox/calls.h"

struct prop_sandbox {
    struct sock_fprog program[PROP_SANDBOX_ROLES];
};

void prop_sandbox_free(struct prop_sandbox *s)
{
    for (size_t i = 0; s && i < PROP_SANDBOX_ROLES; i++)
        prop_free(s->program[i].filter);
    prop_free(s);
}

static int no_sandbox(struct prop_err *err, int cause)
{
    errno = cause < 0 ? -cause : cause;
    prop_err_sys(err, PROP_E_UNSUPPORTED, "system-call filters");
    if (err)
        err->id = "no-sandbox";
    return prop_err_hint(err, "the kernel needs CONFIG_SECCOMP_FILTER");
}

/* libseccomp writes programs to descriptors only. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *ret, struct prop_err *err)
{
    struct stat st = {.st_size = 0};
    int fd = memfd_create("filter", MFD_CLOEXEC);

    if (fd < 0)
        return no_sandbox(err, errno);
    int rc = seccomp_export_bpf(ctx, fd);
    if (rc == 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        ret->filter = prop_alloc((size_t)st.st_size);
        ret->len = (unsigned short)((size_t)st.st_size / sizeof *ret->filter);
        if (ret->filter && pread(fd, ret->filter, (size_t)st.st_size, 0) != st.st_size)
            rc = EIO;
    }
    (void)close(fd);
    if (rc)
        return no_sandbox(err, rc);
    return ret->filter ? 0 : prop_err_nomem(err);
}

static int build(enum prop_sandbox_role role, struct sock_fprog *ret, struct prop_err *err)
{
    scmp_filter_ctx ctx = seccomp_init(role == PROP_SANDBOX_PROGRAM ? SCMP_ACT_ALLOW
                                                                    : SCMP_ACT_KILL_PROCESS);

    if (!ctx)
        return prop_err_nomem(err);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree instead of a list */
    int rc = prop_sandbox_rules(ctx, role);
    rc = rc ? no_sandbox(err, rc) : export(ctx, ret, err);
    seccomp_release(ctx);
    return rc;
}

int prop_sandbox_new(struct prop_sandbox **ret, struct prop_err *err)
{
    prop_auto_sandbox struct prop_sandbox *s = prop_zalloc(sizeof *s);
    int rc = s ? 0 : prop_err_nomem(err);

    if (rc == 0 && prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        rc = no_sandbox(err, errno);
    for (int i = 0; rc == 0 && i < PROP_SANDBOX_ROLES; i++)
        rc = build((enum prop_sandbox_role)i, &s->program[i], err);
    if (rc == 0)
        *ret = PROP_TAKE(s);
    return rc;
}

int prop_sandbox_close(const struct prop_sandbox *s, enum prop_sandbox_role role,
                       struct prop_err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return no_sandbox(err, errno);
#ifndef __SANITIZE_ADDRESS__
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u,
                &s->program[role]))
        return no_sandbox(err, errno);
    return 0;
}
