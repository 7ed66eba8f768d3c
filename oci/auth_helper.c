/* Credential helpers: a program that is asked on stdin and answers on stdout (registry.md 4). */
#include "oci/auth.h"

#include "util/buf.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char not_found[] = "credentials not found in native keychain";

static int failed(struct prop_err *err, const char *name, const char *why)
{
    return prop_err_set_id(err, PROP_E_REMOTE, "credential-helper",
                           "credential helper 'docker-credential-%s': %s", name, why);
}

static void wipe_buf(struct prop_buf *b)
{
    if (b->data != NULL)
        prop_wipe(b->data, b->cap);
    prop_buf_release(b);
}
#define auto_wiped_buf __attribute__((cleanup(wipe_buf)))

static int spawn(const char *program, const char *verb, int in, int out, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    char *argv[3] = { (char *)(uintptr_t)program, (char *)(uintptr_t)verb, NULL };
    int rc;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return ENOMEM;
    rc = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawnp(ret, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int read_answer(int fd, struct prop_buf *out, struct prop_err *err)
{
    uint8_t piece[4096];
    int rc = 0;

    while (rc == 0) {
        struct pollfd p = { fd, POLLIN, 0 };
        ssize_t n;

        rc = prop_stop_check(err);
        if (rc < 0 || poll(&p, 1, 1000) <= 0)
            continue;
        n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = prop_err_sys(err, PROP_E_IO, "credential helper");
        if (n <= 0)
            break;
        rc = prop_buf_add(out, piece, (size_t)n, err);
    }
    prop_wipe(piece, sizeof(piece));
    return rc;
}

#define END_MS 2000u /* for a helper that was told to stop */

static bool has_ended(pid_t pid, int *ret_status)
{
    return waitpid(pid, ret_status, WNOHANG) != 0; /* an error, too: there is nobody to wait for */
}

/* A helper that has closed its output may take its time; one that was told to stop, or that we are told to
 * stop for, may not. */
static int await_end(pid_t pid, bool stopped, int *ret_status, struct prop_err *err)
{
    uint64_t begun = prop_now_ms();
    int rc = 0;

    while (!has_ended(pid, ret_status)) {
        if (!stopped && (rc = prop_stop_check(err)) < 0) {
            stopped = true;
            begun = prop_now_ms();
            (void)kill(pid, SIGTERM);
        }
        if (stopped && prop_now_ms() - begun > END_MS)
            (void)kill(pid, SIGKILL);
        (void)poll(NULL, 0, 5);
    }
    return rc;
}

static int converse(const char *program, const char *verb, const struct prop_buf *input,
                    struct prop_buf *out, int *ret_status, struct prop_err *err)
{
    int in[2] = { -1, -1 }, answer[2] = { -1, -1 }, rc, status = 0;
    pid_t pid = -1;

    /* a socket instead of a pipe: a helper that does not read must not raise SIGPIPE here */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0 ||
        pipe2(answer, O_CLOEXEC) < 0) {
        rc = prop_err_sys(err, PROP_E_IO, "credential helper");
        goto out;
    }
    rc = spawn(program, verb, in[1], answer[1], &pid);
    (void)close(in[1]);
    (void)close(answer[1]);
    in[1] = answer[1] = -1;
    if (rc != 0) {
        errno = rc;
        pid = -1;
        rc = prop_err_sys(err, PROP_E_REMOTE, "credential helper '%s'", program);
        goto out;
    }
    (void)send(in[0], input->data, input->len, MSG_NOSIGNAL);
    (void)shutdown(in[0], SHUT_WR);
    rc = read_answer(answer[0], out, err);
out:
    for (int i = 0; i < 2; i++) {
        if (in[i] >= 0)
            (void)close(in[i]);
        if (answer[i] >= 0)
            (void)close(answer[i]);
    }
    if (pid > 0) {
        int ended;

        if (rc < 0)
            (void)kill(pid, SIGTERM);
        ended = await_end(pid, rc < 0, &status, err);
        rc = rc < 0 ? rc : ended;
        *ret_status = status;
    }
    return rc;
}

/* Run one verb. PROP_E_NOTFOUND when the helper says it has no such entry. */
static int run_helper(const char *name, const char *verb, const struct prop_buf *input,
                      struct prop_buf *out, struct prop_err *err)
{
    prop_auto_free char *program = prop_asprintf("docker-credential-%s", name);
    char shown[200];
    size_t len;
    int status = 0, rc;

    if (program == NULL)
        return prop_err_nomem(err);
    if (name[0] == '\0' || strchr(name, '/') != NULL)
        return prop_err_set_id(err, PROP_E_INPUT, "credential-helper",
                               "'%s' is no name of a credential helper", name);
    rc = converse(program, verb, input, out, &status, err);
    if (rc < 0)
        return rc;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    len = strcspn(prop_buf_str(out), "\r\n");
    if (len == strlen(not_found) && memcmp(prop_buf_str(out), not_found, len) == 0)
        return prop_err_set_id(err, PROP_E_NOTFOUND, "not-logged-in", "%s", not_found);
    prop_printable(prop_buf_str(out), len, shown, sizeof(shown));
    return failed(err, name, shown[0] != '\0' ? shown : "failed without a word");
}

static int read_get(const char *name, const struct prop_buf *out, struct prop_credentials *ret,
                    struct prop_err *err)
{
    struct answer {
        const char *user, *secret;
    } a = { NULL, NULL };
    static const struct prop_json_field fields[] = {
        { "Username", PROP_JSON_STRING, offsetof(struct answer, user), PROP_JSON_REQUIRED },
        { "Secret", PROP_JSON_STRING, offsetof(struct answer, secret), PROP_JSON_REQUIRED },
    };
    prop_auto_json json_t *json = NULL;
    prop_auto_credentials struct prop_credentials c = PROP_CREDENTIALS_INIT;
    int rc = prop_json_parse(prop_buf_str(out), out->len, "credential helper's answer", &json, err);

    if (rc == 0)
        rc = prop_json_read(json, name, fields, PROP_ARRAY_LEN(fields), &a, err);
    if (rc == 0)
        rc = prop_secret_copy(a.secret, strlen(a.secret), &c.secret, err);
    if (rc < 0)
        return failed(err, name, "its answer is malformed");
    c.kind = strcmp(a.user, "<token>") == 0 ? PROP_CRED_IDENTITY_TOKEN : PROP_CRED_PASSWORD;
    if (c.kind == PROP_CRED_PASSWORD) {
        c.user = prop_strdup(a.user);
        if (c.user == NULL)
            return prop_err_nomem(err);
    }
    *ret = c;
    memset(&c, 0, sizeof(c));
    return 0;
}

int prop_helper_get(const char *name, const char *server, struct prop_credentials *ret,
                    struct prop_err *err)
{
    auto_wiped_buf struct prop_buf in = PROP_BUF_INIT(4096);
    auto_wiped_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_ERROR_BODY);
    int rc = prop_buf_puts(&in, server, err);

    if (rc == 0)
        rc = run_helper(name, "get", &in, &out, err);
    if (rc == PROP_E_NOTFOUND) {
        prop_err_clear(err);
        return 0;
    }
    return rc == 0 ? read_get(name, &out, ret, err) : rc;
}

int prop_helper_store(const char *name, const char *server, const struct prop_credentials *cred,
                      struct prop_err *err)
{
    auto_wiped_buf struct prop_buf in = PROP_BUF_INIT(PROP_LIMIT_ERROR_BODY);
    auto_wiped_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_ERROR_BODY);
    prop_auto_json json_t *json = NULL;
    char *text;
    int rc;

    json = json_pack("{s:s, s:s, s:s%}", "ServerURL", server, "Username",
                     cred->kind == PROP_CRED_PASSWORD ? cred->user : "<token>", "Secret",
                     (const char *)prop_secret_data(cred->secret), prop_secret_len(cred->secret));
    text = json != NULL ? prop_json_compact(json) : NULL;
    if (text == NULL)
        return prop_err_set_id(err, PROP_E_INPUT, "bad-credentials",
                               "user name and password must be UTF-8 text");
    rc = prop_buf_puts(&in, text, err);
    prop_wipe(text, strlen(text));
    prop_free(text);
    return rc == 0 ? run_helper(name, "store", &in, &out, err) : rc;
}

int prop_helper_erase(const char *name, const char *server, struct prop_err *err)
{
    auto_wiped_buf struct prop_buf in = PROP_BUF_INIT(4096);
    auto_wiped_buf struct prop_buf out = PROP_BUF_INIT(PROP_LIMIT_ERROR_BODY);
    int rc = prop_buf_puts(&in, server, err);

    return rc == 0 ? run_helper(name, "erase", &in, &out, err) : rc;
}
