/* Passphrases. The terminal's echo is off while one is typed, and on again whatever happens. */
#include "cmd/propkey/passphrase.h"

#include "util/file.h"
#include "util/mem.h"
#include "util/stop.h"
#include "util/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { PASS_MAX_BYTES = 4096 };

static int none(struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_USAGE, "no-passphrase",
                    "there is no terminal to ask for a passphrase");
    return prop_err_hint(err, "give --passphrase-file or --passphrase-fd");
}

/* Cut at the first line end. */
static int first_line(struct prop_secret *s, struct prop_err *err)
{
    const uint8_t *p = prop_secret_data(s);
    const uint8_t *end = memchr(p, '\n', prop_secret_len(s));
    size_t len = end ? (size_t)(end - p) : prop_secret_len(s);
    if (len && p[len - 1] == '\r')
        len--;
    prop_secret_truncate(s, len);
    return len ? 0
               : prop_err_set_id(err, PROP_E_USAGE, "empty-passphrase", "the passphrase is empty");
}

static int from_file(const struct propkey_pass_opts *o, struct prop_secret **ret,
                     struct prop_err *err)
{
    uint64_t n = 0;
    char name[48];
    if (o->file)
        return prop_file_read_secret(o->file, PASS_MAX_BYTES, PROP_SECRET_FILE_PRIVATE, ret, err);
    int rc = prop_parse_u64(o->fd, "--passphrase-fd", &n, err);
    if (rc < 0) {
        err->code = PROP_E_USAGE;
        err->id = "bad-option-value";
        return PROP_E_USAGE;
    }
    (void)snprintf(name, sizeof name, "/dev/fd/%llu", (unsigned long long)n);
    return prop_file_read_secret(name, PASS_MAX_BYTES, PROP_SECRET_FILE_ANY_MODE, ret, err);
}

static int read_line(int tty, struct prop_secret *s, struct prop_err *err)
{
    size_t len = 0;
    while (len < PASS_MAX_BYTES) {
        int rc = prop_stop_check(err);
        if (rc < 0)
            return rc;
        ssize_t n = read(tty, prop_secret_bytes(s) + len, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "read from the terminal");
        if (n == 0 || prop_secret_data(s)[len++] == '\n')
            break;
    }
    prop_secret_truncate(s, len);
    return first_line(s, err);
}

static int ask(int tty, const char *prompt, struct prop_secret **ret, struct prop_err *err)
{
    struct termios before, quiet;
    prop_auto_secret struct prop_secret *s = NULL;
    int rc = prop_secret_new(PASS_MAX_BYTES, &s, err);
    if (rc < 0)
        return rc;
    if (tcgetattr(tty, &before) != 0)
        return none(err);
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(tty, TCSAFLUSH, &quiet);
    (void)prop_write_all(tty, prompt, strlen(prompt));
    rc = read_line(tty, s, err);
    (void)tcsetattr(tty, TCSAFLUSH, &before);
    (void)prop_write_all(tty, "\n", 1);
    if (rc == 0)
        *ret = PROP_TAKE(s);
    return rc;
}

static int from_terminal(bool twice, struct prop_secret **ret, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *first = NULL;
    prop_auto_secret struct prop_secret *second = NULL;
    prop_auto_fd int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0)
        return none(err);
    int rc = ask(tty, "passphrase: ", &first, err);
    if (rc == 0 && twice)
        rc = ask(tty, "again: ", &second, err);
    if (rc < 0)
        return rc;
    if (twice && !prop_secret_equal(first, second))
        return prop_err_set_id(err, PROP_E_USAGE, "passphrases-differ",
                               "the two passphrases differ");
    *ret = PROP_TAKE(first);
    return 0;
}

int propkey_passphrase(const struct propkey_pass_opts *o, bool twice, struct prop_secret **ret,
                       struct prop_err *err)
{
    prop_auto_secret struct prop_secret *s = NULL;
    if (o->file && o->fd)
        return prop_err_set_id(err, PROP_E_USAGE, "two-passphrases",
                               "--passphrase-file and --passphrase-fd exclude each other");
    if (!o->file && !o->fd)
        return from_terminal(twice, ret, err);
    int rc = from_file(o, &s, err);
    if (rc == 0)
        rc = first_line(s, err);
    if (rc < 0)
        return prop_err_wrap(err, "passphrase");
    *ret = PROP_TAKE(s);
    return 0;
}
