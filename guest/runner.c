/* The caller's side: starting the fork server, talking to it, ending it. */
#include "guest/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/runner_internal.h"
#include "guest/runner_server.h"
#include "util/file.h"

#define DEFAULT_COMPILE_MEMORY (4ull << 30)
#define DEFAULT_COMPILE_MS (10u * 60 * 1000)
#define START_MS 60000 /* a server that says nothing for so long never will */
#define END_MS 5000

/* ---- starting the server --------------------------------------------------------------------- */

/* Nothing of our environment, but what the sanitizers of a test build are told. */
static void server_env(char *env[4])
{
    size_t n = 0;
#ifdef __SANITIZE_ADDRESS__
    static const char *const names[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};
    for (size_t i = 0; i < PROP_ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value && (env[n] = prop_asprintf("%s=%s", names[i], value)))
            n++;
    }
#endif
    env[n] = NULL;
}

/* A descriptor with nothing in it, that takes nothing: a /dev/null where there is no /dev. */
static int open_nothing(void)
{
    int fd = memfd_create("nothing", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0)
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return fd;
}

static int spawn_with(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int sock,
                      int nothing, pid_t *ret)
{
    static char name[] = RUNNER_ARGV0;
    char *argv[] = {name, NULL};
    char *env[4];
    int rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID);

    for (int fd = STDIN_FILENO; rc == 0 && fd <= STDERR_FILENO; fd++) {
#ifdef __SANITIZE_ADDRESS__
        if (fd == STDERR_FILENO)
            break; /* where its findings go */
#endif
        rc = posix_spawn_file_actions_adddup2(actions, nothing, fd);
    }
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(actions, sock, RUNNER_CONTROL_FD);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, RUNNER_CONTROL_FD + 1);
    server_env(env);
    if (rc == 0)
        rc = posix_spawn(ret, "/proc/self/exe", actions, attr, argv, env);
    for (size_t i = 0; env[i]; i++)
        prop_free(env[i]);
    return rc;
}

static int spawn(int sock, pid_t *ret, struct prop_err *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    prop_auto_fd int nothing = open_nothing();

    if (nothing < 0)
        return prop_err_sys(err, PROP_E_IO, "start the runner");
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    errno = spawn_with(&actions, &attr, sock, nothing, ret);
    int rc = errno ? prop_err_sys(err, PROP_E_IO, "start the runner") : 0;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return rc;
}

static int greet(struct prop_runner *r, struct prop_err *err)
{
    struct {
        struct runner_request req;
        char names[8192];
    } hello;
    size_t used = 0;

    memset(&hello, 0, sizeof hello);
    hello.req.magic = RUNNER_MAGIC;
    hello.req.what = RUNNER_HELLO;
    hello.req.external = r->external != NULL;
    for (size_t i = 0; i < r->n_dirs; i++) {
        size_t len = strlen(r->names[i]) + 1;
        if (len > sizeof hello.names - used)
            return prop_err_set(err, PROP_E_LIMIT, "the names of the folders are too long");
        memcpy(hello.names + used, r->names[i], len);
        used += len;
    }
    if (runner_send(r->sock, &hello, sizeof hello.req + used, r->dirs, r->n_dirs, 0))
        return prop_err_sys(err, PROP_E_IO, "start the runner");
    return 0;
}

static int launch(struct prop_runner *r, struct prop_err *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return prop_err_sys(err, PROP_E_IO, "start the runner");
    int rc = spawn(pair[1], &r->pid, err);
    (void)close(pair[1]);
    if (rc) {
        (void)close(pair[0]);
        return rc;
    }
    r->sock = pair[0];
    r->ready = false;
    return greet(r, err);
}

/* ---- its answer ------------------------------------------------------------------------------ */

static void note_walls(struct prop_runner *r, const struct runner_event *e)
{
    if (e->swap)
        (void)snprintf(r->warning, sizeof r->warning,
                       "this machine swaps and memory cannot be locked: what modules hold may reach "
                       "a disk (swapoff, or raise the memlock limit)");
    else if (!e->network && !e->files)
        (void)snprintf(r->warning, sizeof r->warning,
                       "neither namespaces nor Landlock can be had here: modules are kept by system-"
                       "call filters alone");
    else if (r->n_dirs && !e->files)
        (void)snprintf(r->warning, sizeof r->warning,
                       "this kernel has no Landlock: modules are kept in their folders by the engine "
                       "alone");
}

static int await_ready(struct prop_runner *r, struct prop_err *err)
{
    struct runner_event e = {.magic = 0};
    struct pollfd p = {r->sock, POLLIN, 0};
    int n = 0;

    if (r->ready)
        return 0;
    do
        n = poll(&p, 1, START_MS);
    while (n < 0 && errno == EINTR);
    if (n != 1 || runner_recv(r->sock, &e, sizeof e, NULL, NULL, 0) != (ssize_t)sizeof e ||
        e.magic != RUNNER_MAGIC || e.kind != RUNNER_READY)
        return prop_err_set_id(err, PROP_E_IO, "runner-lost", "the runner does not start");
    if (e.failed) {
        e.message[sizeof e.message - 1] = 0;
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-sandbox", "%s", e.message);
    }
    r->ready = true;
    note_walls(r, &e);
    return 0;
}

int runner_lost(struct prop_runner *r, struct prop_err *err)
{
    (void)pthread_mutex_lock(&r->lock);
    int rc = await_ready(r, err);
    (void)pthread_mutex_unlock(&r->lock);
    return rc ? rc
              : prop_err_set_id(err, PROP_E_IO, "runner-lost", "the runner's process has ended");
}

const char *prop_runner_warning(struct prop_runner *r)
{
    (void)pthread_mutex_lock(&r->lock);
    (void)await_ready(r, NULL);
    (void)pthread_mutex_unlock(&r->lock);
    return r->warning;
}

/* ---- ending it ------------------------------------------------------------------------------- */

/* It ends its children and itself when its socket closes. */
static void end_server(struct prop_runner *r)
{
    int status = 0;

    if (r->sock >= 0)
        (void)close(r->sock);
    r->sock = -1;
    if (r->pid <= 0)
        return;
    prop_auto_fd int pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
    struct pollfd p = {pidfd, POLLIN, 0};
    if (pidfd < 0 || poll(&p, 1, END_MS) != 1)
        (void)kill(r->pid, SIGKILL);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
        ;
    r->pid = 0;
}

void prop_runner_free(struct prop_runner *r)
{
    if (!r)
        return;
    end_server(r);
    for (size_t i = 0; i < r->n_dirs; i++) {
        prop_free(r->names[i]);
        (void)close(r->dirs[i]);
    }
    prop_free(r->external);
    (void)pthread_mutex_destroy(&r->lock);
    prop_free(r);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int add_dir(struct prop_runner *r, const char *dir, struct prop_err *err)
{
    const char *sep = strstr(dir, "::");
    prop_auto_free char *host = sep ? prop_strndup(dir, (size_t)(sep - dir)) : prop_strdup(dir);
    prop_auto_free char *guest = prop_strdup(sep ? sep + 2 : dir);

    if (!host || !guest)
        return prop_err_nomem(err);
    if (!*host || !*guest || r->n_dirs == RUNNER_MAX_DIRS)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-dir",
                               "'%s' is not a folder HOST or HOST::GUEST, or one too many", dir);
    int fd = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "folder '%s'", host);
        return err ? (int)err->code : PROP_E_IO;
    }
    r->dirs[r->n_dirs] = fd;
    r->names[r->n_dirs++] = PROP_TAKE(guest);
    return 0;
}

/* A name without a slash is looked for in PATH. */
static int find_program(const char *name, char **ret, struct prop_err *err)
{
    const char *path = strchr(name, '/') ? NULL : getenv("PATH");
    prop_auto_free char *found = path ? NULL : prop_strdup(name);

    while (path && *path) {
        size_t len = strcspn(path, ":");
        prop_free(found);
        found = prop_asprintf("%.*s/%s", (int)len, len ? path : ".", name);
        if (found && access(found, X_OK) == 0)
            break;
        path += len + (path[len] == ':');
    }
    if (!found)
        return prop_err_nomem(err);
    if (access(found, X_OK)) {
        prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "the runtime '%s'", name);
        return err ? (int)err->code : PROP_E_NOTFOUND;
    }
    *ret = PROP_TAKE(found);
    return 0;
}

static int configure(struct prop_runner *r, const struct prop_runner_config *config,
                     struct prop_err *err)
{
    int rc = 0;

    r->compile_memory =
        config->compile_memory ? config->compile_memory : DEFAULT_COMPILE_MEMORY;
    r->compile_ms = config->compile_ms ? config->compile_ms : DEFAULT_COMPILE_MS;
    if (config->external)
        rc = find_program(config->external, &r->external, err);
    for (size_t i = 0; rc == 0 && i < config->n_dirs; i++)
        rc = add_dir(r, config->dirs[i], err);
    return rc;
}

int prop_runner_start(const struct prop_runner_config *config, struct prop_runner **ret,
                      struct prop_err *err)
{
    prop_auto_runner struct prop_runner *r = prop_zalloc(sizeof *r);

    if (!r)
        return prop_err_nomem(err);
    r->sock = -1;
    (void)pthread_mutex_init(&r->lock, NULL);
    int rc = configure(r, config, err);
    if (rc == 0)
        rc = launch(r, err);
    if (rc == 0 && !config->hasty)
        rc = await_ready(r, err);
    if (rc == 0)
        *ret = PROP_TAKE(r);
    return rc;
}

int runner_request(struct prop_runner *r, const struct runner_request *req, const int *fds,
                   size_t n_fds, struct prop_err *err)
{
    int rc = 0;

    (void)pthread_mutex_lock(&r->lock);
    if (runner_send(r->sock, req, sizeof *req, fds, n_fds, 0)) {
        /* It is gone (killed, out of memory): what was compiled is still here, so another one can
         * take over. */
        rc = await_ready(r, err);
        if (rc == 0) {
            end_server(r);
            rc = launch(r, err);
        }
        if (rc == 0 && runner_send(r->sock, req, sizeof *req, fds, n_fds, 0))
            rc = prop_err_set_id(err, PROP_E_IO, "runner-lost", "the runner's process has ended");
    }
    (void)pthread_mutex_unlock(&r->lock);
    return rc;
}
