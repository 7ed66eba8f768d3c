#include "cmd/proppush/actions.h"

#include "util/buf.h"
#include "util/file.h"
#include "util/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { text_max = 64 << 10 };

static bool on_actions(void)
{
    const char *v = getenv("GITHUB_ACTIONS");
    return v != NULL && strcmp(v, "true") == 0;
}

/* What the runner takes apart: line ends and '%' in texts, also ':' and ',' in properties. */
static void put_escaped(FILE *out, const char *text, bool property)
{
    for (const char *c = text; *c != 0; c++) {
        bool special = *c == '%' || *c == '\r' || *c == '\n' ||
                       (property && (*c == ':' || *c == ','));
        if (special)
            (void)fprintf(out, "%%%02X", (unsigned)(unsigned char)*c);
        else
            (void)fputc(*c, out);
    }
}

static void annotate(const char *kind, const char *title, const char *text, const char *more)
{
    (void)fprintf(stderr, "::%s title=", kind);
    put_escaped(stderr, title, true);
    (void)fputs("::", stderr);
    put_escaped(stderr, text, false);
    if (more[0] != 0)
        (void)fputs("%0A", stderr);
    put_escaped(stderr, more, false);
    (void)fputc('\n', stderr);
}

void proppush_actions_warning(const char *title, const char *text)
{
    if (on_actions())
        annotate("warning", title, text, "");
}

void proppush_actions_error(const char *title, const struct prop_err *err)
{
    prop_auto_free char *full = on_actions() ? prop_asprintf("%s (%s)", title, prop_err_id(err))
                                             : NULL;
    if (full != NULL)
        annotate("error", full, err->message, err->hint);
}

static void append(struct prop_cli *cli, const char *variable, const struct prop_buf *text)
{
    const char *path = getenv(variable);
    if (path == NULL || path[0] == 0)
        return;
    prop_auto_fd int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || prop_write_all(fd, text->data, text->len) != 0)
        prop_cli_warn(cli, "%s ('%s') cannot be written", variable, path);
}

void proppush_actions_outputs(struct prop_cli *cli, const char *title, const json_t *doc,
                              const char *const *members, size_t n)
{
    prop_auto_buf struct prop_buf output = PROP_BUF_INIT(text_max);
    prop_auto_buf struct prop_buf summary = PROP_BUF_INIT(text_max);
    if (!on_actions())
        return;
    int rc = prop_buf_printf(&summary, NULL, "### %s\n\n| | |\n|---|---|\n", title);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const char *value = json_string_value(json_object_get(doc, members[i]));
        /* No value of ours has a line end; one that had would set another output. */
        if (value == NULL || strpbrk(value, "\r\n|`") != NULL)
            continue;
        rc = prop_buf_printf(&output, NULL, "%s=%s\n", members[i], value);
        if (rc == 0)
            rc = prop_buf_printf(&summary, NULL, "| %s | `%s` |\n", members[i], value);
    }
    if (rc != 0)
        return;
    append(cli, "GITHUB_OUTPUT", &output);
    append(cli, "GITHUB_STEP_SUMMARY", &summary);
}
