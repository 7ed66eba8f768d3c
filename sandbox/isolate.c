/* What the fork server does to itself once, so that each child has it for nothing: namespaces,
 * Landlock, no capabilities. Each of these is one wall more behind the system-call filter, and is
 * left out where the kernel or a container does not let us. */
#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- namespaces ------------------------------------------------------------------------------ */

static void write_once(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    ssize_t n = write(fd, text, strlen(text));
    (void)n; /* an unmapped user keeps its rights over what is its own */
    (void)close(fd);
}

/* A user namespace gives the right to the others; our own ids stay what they are in it. */
static bool unshare_as_user(int flags)
{
    char uid[64];
    char gid[64];

    (void)snprintf(uid, sizeof uid, "%u %u 1\n", geteuid(), geteuid());
    (void)snprintf(gid, sizeof gid, "%u %u 1\n", getegid(), getegid());
    if (unshare(CLONE_NEWUSER | flags))
        return false;
    write_once("/proc/self/setgroups", "deny");
    write_once("/proc/self/uid_map", uid);
    write_once("/proc/self/gid_map", gid);
    return true;
}

static bool leave_network(void)
{
    const int flags = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

    return unshare(flags) == 0 || unshare_as_user(flags);
}

/* ---- Landlock -------------------------------------------------------------------------------- */

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_V1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) /* everything the first version knew */
#define FS_REFER (1ull << 13)                          /* version 2 */
#define FS_TRUNCATE (1ull << 14)                       /* version 3 */
#define FS_IOCTL_DEV (1ull << 15)                      /* version 5 */
#define NET_V4 3ull                                    /* bind and connect of TCP */
#define SCOPE_V6 3ull                                  /* abstract sockets, signals */

/* As linux/landlock.h has it today; a kernel takes a shorter one from older times. */
struct ruleset {
    uint64_t fs, net, scoped;
};

static long landlock_version(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static struct ruleset all_of(long version)
{
    struct ruleset r = {FS_V1, 0, 0};

    if (version >= 2)
        r.fs |= FS_REFER;
    if (version >= 3)
        r.fs |= FS_TRUNCATE;
    if (version >= 4)
        r.net = NET_V4;
    if (version >= 5)
        r.fs |= FS_IOCTL_DEV;
    if (version >= 6)
        r.scoped = SCOPE_V6;
    return r;
}

static bool allow(int ruleset, int folder, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = folder};

    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

static bool allow_programs(int ruleset)
{
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool ok = root >= 0 && allow(ruleset, root, FS_READ | LANDLOCK_ACCESS_FS_EXECUTE);

    if (root >= 0)
        (void)close(root);
    return ok;
}

static bool leave_files(const int *dirs, size_t n_dirs, bool programs)
{
    long version = landlock_version();

    if (version < 1)
        return false;
    struct ruleset r = all_of(version);
    size_t size = version >= 6 ? sizeof r : version >= 4 ? 2 * sizeof r.fs : sizeof r.fs;
    int fd = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
    if (fd < 0)
        return false;
    bool ok = !programs || allow_programs(fd);
    uint64_t in_folder = r.fs & ~(FS_IOCTL_DEV | LANDLOCK_ACCESS_FS_EXECUTE |
                                  LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                                  LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO);
    for (size_t i = 0; ok && i < n_dirs; i++)
        ok = allow(fd, dirs[i], in_folder);
    ok = ok && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_landlock_restrict_self, fd, 0) == 0;
    (void)close(fd);
    return ok;
}

bool prop_sandbox_alone(void)
{
    const struct ruleset r = {.scoped = SCOPE_V6};
    int fd = landlock_version() < 6 ? -1 : (int)syscall(SYS_landlock_create_ruleset, &r, sizeof r, 0);

    if (fd < 0)
        return false;
    bool ok = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              syscall(SYS_landlock_restrict_self, fd, 0) == 0;
    (void)close(fd);
    return ok;
}

/* ---- capabilities ---------------------------------------------------------------------------- */

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2];

    memset(none, 0, sizeof none);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
        ;
    (void)syscall(SYS_capset, &header, none);
}

void prop_sandbox_isolate(const int *dirs, size_t n_dirs, bool programs,
                          struct prop_sandbox_walls *ret)
{
    (void)prop_sandbox_may_lock(); /* a right that goes with the capabilities */
    ret->network = leave_network();
    ret->files = leave_files(dirs, n_dirs, programs);
    drop_capabilities();
}
