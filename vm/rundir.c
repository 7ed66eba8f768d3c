#include "vm/rundir.h"

#include "util/file.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK "lock"

static int parent_of_all(char **ret, struct prop_err *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    prop_auto_free char *state = NULL;
    int rc = 0;

    if (runtime && runtime[0] == '/') {
        *ret = prop_path_join(runtime, "propcvm");
    } else {
        rc = prop_xdg_dir(PROP_XDG_STATE, &state, err);
        *ret = rc ? NULL : prop_path_join(state, "vm");
    }
    if (rc == 0 && !*ret)
        rc = prop_err_nomem(err);
    return rc ? rc : prop_mkdir_p(*ret, 0700, err);
}

/* Is the file that is locked still the one in the folder? Its last holder may have removed it. */
static bool same_file(int fd, const char *path)
{
    struct stat open_one, named;

    return fstat(fd, &open_one) == 0 && stat(path, &named) == 0 &&
           open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
}

/* 0, 1 to try again, or a failure. */
static int try_lock(const char *folder, const char *name, int *ret, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(folder, LOCK);
    int rc = path ? prop_mkdir_p(folder, 0700, err) : prop_err_nomem(err);

    if (rc)
        return rc;
    prop_auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == ENOENT)
        return 1; /* the folder went away just now */
    if (fd < 0)
        return prop_err_sys(err, PROP_E_IO, "open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return prop_err_sys(err, PROP_E_IO, "lock '%s'", path);
        (void)prop_err_set_id(err, PROP_E_EXISTS, "vm-running", "a VM named '%s' is running", name);
        return prop_err_hint(err, "give this one another --name");
    }
    if (!same_file(fd, path))
        return 1;
    *ret = fd;
    fd = -1;
    return 0;
}

/* Everything in it but the lock: files only, no folder is made here. */
static void empty(const char *folder)
{
    DIR *d = opendir(folder);

    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, LOCK) != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        (void)closedir(d);
}

int prop_rundir_open(const char *name, struct prop_rundir *ret, struct prop_err *err)
{
    prop_auto_free char *all = NULL;
    int lock = -1;
    int rc = parent_of_all(&all, err);
    prop_auto_free char *path = rc ? NULL : prop_path_join(all, name);

    if (rc == 0 && !path)
        rc = prop_err_nomem(err);
    for (int tries = 0; rc == 0 && lock < 0 && tries < 100; tries++)
        if ((rc = try_lock(path, name, &lock, err)) == 1)
            rc = 0;
    if (rc == 0 && lock < 0)
        rc = prop_err_set(err, PROP_E_IO, "'%s' does not stay", path);
    if (rc)
        return rc;
    empty(path);
    ret->path = PROP_TAKE(path);
    ret->lock = lock;
    return 0;
}

int prop_rundir_write(const struct prop_rundir *r, const char *file, const void *data, size_t len,
                      char **ret_path, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(r->path, file);

    if (!path)
        return prop_err_nomem(err);
    int rc = prop_file_write(path, data, len, 0600, true, err);
    if (rc == 0)
        *ret_path = PROP_TAKE(path);
    return rc;
}

void prop_rundir_release(struct prop_rundir *r)
{
    prop_auto_free char *lock = r->path ? prop_path_join(r->path, LOCK) : NULL;

    if (r->path) {
        empty(r->path);
        if (lock)
            (void)unlink(lock);
        (void)rmdir(r->path);
    }
    prop_close_fd_p(&r->lock);
    prop_free(r->path);
    *r = (struct prop_rundir)PROP_RUNDIR_INIT;
}
