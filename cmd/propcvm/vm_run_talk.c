#include "cmd/propcvm/vm_run_talk.h"

#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RESULTS_MAX 4096 /* documents that --json keeps */

/* A line of the guest's on stderr, with nothing in it that a terminal would obey. */
static void say(const char *who, const char *line, size_t len)
{
    char text[4096];

    (void)fprintf(stderr, "%s%s\n", who, prop_printable(line, len, text, sizeof text));
}

/* ---- console -------------------------------------------------------------------------------- */

static int console_line(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err)
{
    struct vm_talk *t = ctx;

    (void)cut;
    (void)err;
    if (len > 0)
        (void)prop_printable(line, len, t->last, sizeof t->last);
    if (!t->console && !prop_cli_quiet(t->cli) && len > 0)
        say("console: ", line, len);
    return 0;
}

static int console(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct vm_talk *t = ctx;

    if (t->fd >= 0 && prop_write_all(t->fd, data, len)) {
        (void)prop_err_sys(err, PROP_E_IO, "write the console to '%s'", t->console);
        err->id = "console-write";
        return err->code;
    }
    return prop_lines_feed(&t->lines, data, len, console_line, t, err);
}

/* ---- log and results ------------------------------------------------------------------------ */

static int log_line(void *ctx, const char *line, size_t len, struct prop_err *err)
{
    const struct vm_talk *t = ctx;

    (void)err;
    if (!prop_cli_quiet(t->cli))
        say("guest: ", line, len);
    return 0;
}

static int keep(struct vm_talk *t, const json_t *doc, struct prop_err *err)
{
    if (json_array_size(t->results) >= RESULTS_MAX)
        return 0;
    json_t *copy = json_deep_copy(doc);
    return json_array_append_new(t->results, copy) ? prop_err_nomem(err) : 0;
}

static int result(void *ctx, const char *line, size_t len, struct prop_err *err)
{
    struct vm_talk *t = ctx;
    prop_auto_json json_t *doc = NULL;
    int rc = prop_json_parse(line, len, "the guest's result", &doc, err);

    if (rc)
        return rc;
    if (prop_cli_json(t->cli))
        return keep(t, doc, err);
    if (t->serves) {
        rc = prop_cli_write(t->cli, line, len, err);
        return rc ? rc : prop_cli_write(t->cli, "\n", 1, err);
    }
    const json_t *text = json_object_get(doc, "results");
    return json_is_string(text) ? prop_cli_write(t->cli, json_string_value(text),
                                                 json_string_length(text), err) : 0;
}

/* ---- begin and end -------------------------------------------------------------------------- */

int vm_talk_open(struct vm_talk *t, struct prop_cli *cli, const char *file, bool serves,
                 struct prop_err *err)
{
    *t = (struct vm_talk){ .ears = { console, log_line, result, NULL }, .cli = cli,
                           .console = file, .fd = -1, .serves = serves,
                           .lines = PROP_LINES_INIT(PROP_VM_LINE_MAX) };
    t->ears.ctx = t;
    t->results = json_array();
    if (!t->results)
        return prop_err_nomem(err);
    if (!file)
        return 0;
    if (strcmp(file, "-") == 0) {
        if (prop_cli_json(cli))
            return prop_err_set_id(err, PROP_E_USAGE, "console-and-json",
                                   "--console - and --json both want stdout");
        t->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    } else {
        t->fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    }
    return t->fd < 0 ? prop_err_sys(err, PROP_E_IO, "open '%s'", file) : 0;
}

int vm_talk_end(struct vm_talk *t, struct prop_err *err)
{
    int rc = prop_lines_end(&t->lines, console_line, t, err);

    if (rc == 0 && t->fd >= 0 && close(t->fd)) {
        rc = prop_err_sys(err, PROP_E_IO, "write the console to '%s'", t->console);
        err->id = "console-write";
    }
    t->fd = -1;
    return rc;
}

void vm_talk_release(struct vm_talk *t)
{
    prop_close_fd_p(&t->fd);
    t->fd = -1;
    prop_lines_release(&t->lines);
    json_decref(t->results);
    t->results = NULL;
}
