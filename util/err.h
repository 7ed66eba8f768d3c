/* The error object every fallible function fills, and the few codes there are.
 *
 * Calling sequence: a caller declares `struct prop_err err = PROP_ERR_INIT;`, passes `&err` down,
 * and tests the int it gets back (0, or a negative enum prop_code). Success leaves the object as
 * it was. The function where a failure happens calls prop_err_set; callers that know more context
 * put it in front with prop_err_wrap ("push 'host/app:1': upload layer 2 of 3: reset by peer").
 * Nothing here allocates, and nothing has to be freed. `err` may be NULL everywhere: prop_err_wrap and
 * prop_err_hint then return the code of this thread's latest failure.
 */
#ifndef PROP_UTIL_ERR_H
#define PROP_UTIL_ERR_H

#include <stdarg.h>

/* What the caller can do about it; the tools' exit codes follow from these (cmd/cli/exit.c). */
enum prop_code {
    PROP_OK = 0,
    PROP_E_USAGE = -1,       /* the command line is wrong */
    PROP_E_INPUT = -2,       /* a file, token or message is malformed */
    PROP_E_LIMIT = -3,       /* a named limit was passed */
    PROP_E_NOTFOUND = -4,    /* the thing asked for is not there */
    PROP_E_EXISTS = -5,      /* the thing to be made is already there */
    PROP_E_AUTH = -6,        /* who we are was not accepted (401) */
    PROP_E_DENIED = -7,      /* we are known, and may not (403, policy) */
    PROP_E_VERIFY = -8,      /* a digest, tag, MAC or signature is wrong */
    PROP_E_UNSUPPORTED = -9, /* well-formed, but nothing we handle */
    PROP_E_NETWORK = -10,    /* no connection, or it broke */
    PROP_E_REMOTE = -11,     /* the server answered with something it must not */
    PROP_E_IO = -12,         /* local files */
    PROP_E_NOMEM = -13,      /* memory */
    PROP_E_INTERRUPTED = -14,/* a signal asked us to stop */
    PROP_E_BUG = -15,        /* our own mistake */
    PROP_E_NO = -16,         /* nothing failed: the answer is no */
    PROP_E_TIMEOUT = -17,    /* the guest's deadline passed */
    PROP_E_TRAP = -18        /* the guest trapped */
};

struct prop_err {
    enum prop_code code;
    int sys_errno;      /* errno of the failing call, or 0 */
    int http_status;    /* status of the answer that was refused, or 0 */
    const char *id;     /* exact cause, a static string such as "hmac-mismatch"; NULL = by code */
    char message[768];  /* one line, lower case, no full stop, subjects in 'quotes' */
    char hint[384];     /* what to do next; may be empty */
};

#define PROP_ERR_INIT { PROP_OK, 0, 0, 0, {0}, {0} }

/* Record a failure. Returns `code`, so that callers write `return prop_err_set(...)`.
 * The text replaces what was there; control characters in it are made visible. */
int prop_err_set(struct prop_err *err, enum prop_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As prop_err_set with the exact cause `id` (a static string: it becomes `error.code` in --json). */
int prop_err_set_id(struct prop_err *err, enum prop_code code, const char *id, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As prop_err_set; appends ": " and strerror(errno), and keeps errno. `fmt` names the file. */
int prop_err_sys(struct prop_err *err, enum prop_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Out of memory: PROP_E_NOMEM, "out of memory". */
int prop_err_nomem(struct prop_err *err);

/* Put context in front of the message ("outer: inner"); the code and id stay. Returns the code. */
int prop_err_wrap(struct prop_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Say what the user can do about it; only the first hint is kept. Returns the code. */
int prop_err_hint(struct prop_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The exact cause as a word: `id` where one was set, else the name of the code ("not-found"). */
const char *prop_err_id(const struct prop_err *err);

/* Back to PROP_ERR_INIT, for callers that go on after a failure. */
void prop_err_clear(struct prop_err *err);

#endif
