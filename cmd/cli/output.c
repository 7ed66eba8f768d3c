/* What the tools say: results on stdout, talk, errors and progress on stderr. */
#include "cmd/cli/internal.h"

#include "util/file.h"
#include "util/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int prop_cli_argc(const struct prop_cli *cli)
{
    return cli->n_args;
}

const char *prop_cli_arg(const struct prop_cli *cli, int i)
{
    return i >= 0 && i < cli->n_args ? cli->args[i] : NULL;
}

bool prop_cli_json(const struct prop_cli *cli)
{
    return cli->json;
}

bool prop_cli_quiet(const struct prop_cli *cli)
{
    return cli->quiet;
}

bool prop_cli_verbose(const struct prop_cli *cli)
{
    return cli->verbose;
}

bool prop_cli_given(const struct prop_cli *cli, const char *long_name)
{
    for (int i = 0; cli->verb->opts[i].name; i++)
        if (strcmp(cli->verb->opts[i].name, long_name) == 0)
            return cli->origin[i] != PROP_FROM_DEFAULT;
    return false;
}

void prop_cli_set_status(struct prop_cli *cli, int status)
{
    cli->status = status;
}

/* Default rendering: "key: value", strings bare, the rest as JSON. */
static void print_plain(const json_t *doc, FILE *out)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)doc, key, v) {
        prop_auto_free char *text = json_is_string(v) ? prop_strdup(json_string_value(v))
                                                      : prop_json_compact(v);
        (void)fprintf(out, "%s: %s\n", key, text ? text : "");
    }
}

static int flushed(struct prop_err *err)
{
    if (fflush(stdout) || ferror(stdout))
        return prop_err_sys(err, PROP_E_IO, "write to standard output");
    return 0;
}

int prop_cli_result(struct prop_cli *cli, const json_t *doc,
                    void (*human)(const json_t *doc, void *stream), struct prop_err *err)
{
    prop_cli_progress_end(cli);
    if (!cli->json) {
        if (human)
            human(doc, stdout);
        else
            print_plain(doc, stdout);
        return flushed(err);
    }
    prop_auto_json json_t *all = json_pack("{s:i}", "version", 1);
    if (!all || json_object_update(all, (json_t *)(uintptr_t)doc))
        return prop_err_nomem(err);
    prop_auto_free char *text = prop_json_compact(all);
    if (!text)
        return prop_err_nomem(err);
    (void)puts(text);
    return flushed(err);
}

int prop_cli_write(struct prop_cli *cli, const void *data, size_t len, struct prop_err *err)
{
    prop_cli_progress_end(cli);
    const unsigned char *p = data;
    for (size_t i = 0; i < len && isatty(STDOUT_FILENO); i++)
        if ((p[i] < 0x20 && !strchr("\t\n\r", p[i])) || p[i] == 0x7f) {
            (void)prop_err_set_id(err, PROP_E_USAGE, "binary-to-terminal",
                                  "the output is binary and goes to a terminal");
            return prop_err_hint(err, "redirect it, or name a file with -o");
        }
    if (fflush(stdout) || prop_write_all(STDOUT_FILENO, data, len))
        return prop_err_sys(err, PROP_E_IO, "write to standard output");
    return 0;
}

static void talk(struct prop_cli *cli, const char *kind, const char *fmt, va_list ap)
{
    char raw[2048], safe[4096];
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
    prop_cli_progress_end(cli);
    (void)fprintf(stderr, "%s: %s: %s\n", cli->tool->name, kind,
                  prop_printable(raw, len, safe, sizeof safe));
}

void prop_cli_warn(struct prop_cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    talk(cli, "warning", fmt, ap);
    va_end(ap);
}

void prop_cli_note(struct prop_cli *cli, const char *fmt, ...)
{
    va_list ap;
    if (cli->quiet)
        return;
    va_start(ap, fmt);
    talk(cli, "note", fmt, ap);
    va_end(ap);
}

void prop_cli_report(struct prop_cli *cli, const struct prop_err *err)
{
    prop_cli_progress_end(cli);
    if (!cli->json) {
        (void)fprintf(stderr, "%s: error: %s\n", cli->tool->name, err->message);
        if (err->hint[0])
            (void)fprintf(stderr, "%s: hint: %s\n", cli->tool->name, err->hint);
        return;
    }
    prop_auto_json json_t *doc =
        json_pack("{s:{s:s,s:s,s:s*}}", "error", "code", prop_err_id(err), "message", err->message,
                  "hint", err->hint[0] ? err->hint : NULL);
    prop_auto_free char *text = doc ? prop_json_compact(doc) : NULL;
    (void)fprintf(stderr, "%s\n", text ? text : "{\"error\":{\"code\":\"out-of-memory\"}}");
}

static bool progress_wanted(const struct prop_cli *cli)
{
    const char *term = getenv("TERM");
    return !cli->quiet && !cli->no_progress && !cli->json && isatty(STDERR_FILENO) && term &&
           strcmp(term, "dumb") != 0;
}

/* Asked for at each drawing: windows are resized. */
static size_t terminal_columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

void prop_cli_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    struct prop_cli *cli = ctx;
    uint64_t now = prop_now_ms();
    char line[512];
    if (!cli->progress_start_ms)
        cli->progress_start_ms = now;
    prop_rate_add(&cli->progress_rate, now, done, total);
    /* Nothing in the first second, then ten lines a second at most, only in the foreground. */
    if (now - cli->progress_start_ms < 1000 || now - cli->progress_last_ms < 100 ||
        !progress_wanted(cli) || tcgetpgrp(STDERR_FILENO) != getpgrp())
        return;
    cli->progress_last_ms = now;
    cli->progress_drawn = true;
    (void)fprintf(stderr, "\r%s\033[K",
                  prop_progress_line(&cli->progress_rate, what, done, total, terminal_columns(),
                                     line, sizeof line));
}

void prop_cli_progress_end(struct prop_cli *cli)
{
    if (cli->progress_drawn)
        (void)fputs("\r\033[K", stderr);
    cli->progress_drawn = false;
    cli->progress_start_ms = 0;
    cli->progress_rate = (struct prop_rate){ .begun_ms = 0 };
}
