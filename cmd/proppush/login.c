/* proppush login HOST: check user and password with the registry, then keep them. The password
 * comes from stdin or from the controlling terminal, never from the command line. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "oci/registry.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/secret.h"
#include "util/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ANSWER_MAX 4096

struct login_opts {
    struct prop_oci_opts oci;
    const char *user;
    bool password_stdin, get_login;
};

static const struct prop_opt options[] = {
    { "username", 'u', PROP_OPT_STRING, "USER", "who to log in as",
      offsetof(struct login_opts, user), NULL, NULL, false },
    { "password-stdin", 0, PROP_OPT_FLAG, NULL, "read the password from stdin (one line)",
      offsetof(struct login_opts, password_stdin), NULL, NULL, false },
    { "get-login", 0, PROP_OPT_FLAG, NULL, "print who is logged in there, ask nothing",
      offsetof(struct login_opts, get_login), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct login_opts, oci),
    PROP_OPT_END
};

/* One line from the terminal; without echo the settings are put back in every case. */
static int ask(int tty, const char *prompt, bool echo, struct prop_secret **ret,
               struct prop_err *err)
{
    struct termios before, quiet;
    prop_auto_secret struct prop_secret *line = NULL;
    size_t len = 0;
    int rc = prop_secret_new(ANSWER_MAX, &line, err);

    if (rc < 0)
        return rc;
    if (prop_write_all(tty, prompt, strlen(prompt)) < 0 || tcgetattr(tty, &before) < 0)
        return prop_err_sys(err, PROP_E_IO, "terminal");
    quiet = before;
    quiet.c_lflag &= (tcflag_t)~(unsigned)ECHO;
    if (!echo && tcsetattr(tty, TCSAFLUSH, &quiet) < 0)
        return prop_err_sys(err, PROP_E_IO, "terminal");
    while (rc == 0 && len < ANSWER_MAX) {
        uint8_t *c = prop_secret_bytes(line) + len;
        ssize_t n = read(tty, c, 1);

        if (n < 0 && errno == EINTR)
            rc = prop_stop_check(err);
        else if (n < 0)
            rc = prop_err_sys(err, PROP_E_IO, "terminal");
        else if (n == 0 || *c == '\n')
            break;
        else
            len++;
    }
    if (!echo) {
        (void)tcsetattr(tty, TCSAFLUSH, &before);
        (void)prop_write_all(tty, "\n", 1);
    }
    prop_secret_truncate(line, len);
    if (rc == 0)
        *ret = PROP_TAKE(line);
    return rc;
}

static int no_password(struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_USAGE, "no-terminal", "there is no terminal to ask on");
    return prop_err_hint(err, "give --username USER --password-stdin");
}

static int password_from_stdin(struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *text = NULL;
    const uint8_t *p;
    size_t len;
    int rc = prop_file_read_secret("-", PROP_LIMIT_KEY_FILE, PROP_SECRET_FILE_ANY_MODE, &text, err);

    if (rc < 0)
        return rc;
    p = prop_secret_data(text);
    len = prop_secret_len(text);
    if (len > 0 && p[len - 1] == '\n')
        len--;
    if (len > 0 && p[len - 1] == '\r')
        len--;
    if (len == 0 || memchr(p, '\n', len) != NULL)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-password",
                               len == 0 ? "stdin holds no password"
                                        : "stdin holds more than one line");
    prop_secret_truncate(text, len);
    *ret = PROP_TAKE(text);
    return 0;
}

/* Fill in what the command line did not say. */
static int ask_for_missing(const struct login_opts *o, char **user, struct prop_secret **password,
                           struct prop_err *err)
{
    prop_auto_secret struct prop_secret *name = NULL;
    prop_auto_fd int tty = -1;
    int rc = 0;

    if (o->password_stdin && o->user == NULL)
        return prop_err_set(err, PROP_E_USAGE, "--password-stdin needs --username");
    if (!o->password_stdin) {
        tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
        if (tty < 0)
            return no_password(err);
    }
    if (o->user == NULL) {
        rc = ask(tty, "Username: ", true, &name, err);
        if (rc < 0)
            return rc;
    }
    *user = prop_strdup(o->user != NULL ? o->user : (const char *)prop_secret_data(name));
    if (*user == NULL)
        return prop_err_nomem(err);
    if ((*user)[0] == '\0')
        return prop_err_set(err, PROP_E_USAGE, "the user name is empty");
    return o->password_stdin ? password_from_stdin(password, err)
                             : ask(tty, "Password: ", false, password, err);
}

static int check(const char *host, const struct prop_credentials *c,
                 const struct prop_oci_options *oci, struct prop_err *err)
{
    prop_auto_session struct prop_session *s = NULL;
    int rc = prop_credentials_check(c, err);

    if (rc == 0)
        rc = prop_session_new(host, NULL, oci, &s, err);
    if (rc == 0)
        rc = prop_session_set_credentials(s, c->user, c->secret, err);
    if (rc == 0)
        rc = prop_registry_ping(s, err);
    if (rc == PROP_E_AUTH) {
        prop_err_clear(err);
        prop_err_set_id(err, rc, "unauthorized", "'%s': invalid username or password", host);
    }
    return rc;
}

/* Whose credentials would be used; the registry is not asked. */
static int get_login(const char *authfile, const char *host, json_t **ret, struct prop_err *err)
{
    prop_auto_credentials struct prop_credentials c = PROP_CREDENTIALS_INIT;
    int rc = prop_auth_lookup(authfile, host, NULL, &c, err);

    if (rc < 0)
        return rc;
    if (c.kind == PROP_CRED_NONE) {
        prop_err_set_id(err, PROP_E_NOTFOUND, "not-logged-in", "not logged into '%s'", host);
        return prop_err_hint(err, "proppush login %s", host);
    }
    /* a token says nothing of whose it is */
    *ret =
        json_pack("{s:s, s:s}", "registry", host, "username", c.user != NULL ? c.user : "<token>");
    return *ret == NULL ? prop_err_nomem(err) : 0;
}

static void print_user(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s\n", json_string_value(json_object_get(doc, "username")));
}

static void print_login(const json_t *doc, void *stream)
{
    (void)doc;
    (void)fprintf(stream, "Login Succeeded!\n");
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct login_opts *o = opts;
    prop_auto_credentials struct prop_credentials c = PROP_CREDENTIALS_INIT;
    struct prop_oci_options oci;
    prop_auto_free char *host = NULL;
    prop_auto_free char *where = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc = proppush_read_host(prop_cli_arg(cli, 0), &host, err);

    prop_oci_opts_fill(cli, &o->oci, &oci);
    if (rc == 0 && o->get_login) {
        if (o->user != NULL || o->password_stdin)
            return prop_err_set(err, PROP_E_USAGE, "--get-login asks for no user and no password");
        rc = get_login(o->oci.authfile, host, &doc, err);
        return rc == 0 ? prop_cli_result(cli, doc, print_user, err) : rc;
    }
    c.kind = PROP_CRED_PASSWORD;
    if (rc == 0)
        rc = ask_for_missing(o, &c.user, &c.secret, err);
    if (rc == 0)
        rc = check(host, &c, &oci, err);
    if (rc == 0)
        rc = prop_auth_store(o->oci.authfile, host, &c, &where, err);
    if (rc < 0)
        return rc;
    prop_cli_note(cli, "credentials kept in %s", where);
    doc = json_pack("{s:s, s:s, s:s}", "registry", host, "username", c.user, "stored", where);
    return doc == NULL ? prop_err_nomem(err) : prop_cli_result(cli, doc, print_login, err);
}

const struct prop_verb proppush_verb_login = {
    "login", "HOST[:PORT]", "keep credentials for a registry, after checking them",
    "Credentials are kept where podman and skopeo keep them, or by the helper that is set up for\n"
    "the host. Nothing is kept when the registry does not accept them.\n\n"
    "  proppush login --username ci --password-stdin registry.example.com < password\n"
    "  proppush login --get-login registry.example.com",
    options, sizeof(struct login_opts), 1, 1, run
};
