/* --help, --version, --show-config and suggestions, all from the tables. */
#include "cmd/cli/internal.h"

#include "util/mem.h"

#include <string.h>

#define HELP_COLUMN 30

void prop_cli_help_tool(const struct prop_tool *tool, FILE *out)
{
    (void)fprintf(out, "usage: %s VERB [OPTIONS] [ARGUMENTS]\n%s\n\nverbs:\n", tool->name,
                  tool->summary);
    for (size_t i = 0; tool->verbs[i]; i++)
        (void)fprintf(out, "  %-20s %s\n", tool->verbs[i]->name, tool->verbs[i]->summary);
    (void)fprintf(out, "\n'%s VERB --help' tells about one verb; '%s --version' the version.\n",
                  tool->name, tool->name);
}

void prop_cli_help_group(const struct prop_tool *tool, const char *word, FILE *out)
{
    size_t n = strlen(word);
    (void)fprintf(out, "usage: %s %s VERB [OPTIONS] [ARGUMENTS]\n\nverbs:\n", tool->name, word);
    for (size_t i = 0; tool->verbs[i]; i++)
        if (strncmp(tool->verbs[i]->name, word, n) == 0 && tool->verbs[i]->name[n] == ' ')
            (void)fprintf(out, "  %-20s %s\n", tool->verbs[i]->name, tool->verbs[i]->summary);
    (void)fprintf(out, "\n'%s %s VERB --help' tells about one verb\n", tool->name, word);
}

static void help_option(const struct prop_opt *o, FILE *out)
{
    char left[128];
    if (o->hidden)
        return;
    int n = o->short_name ? snprintf(left, sizeof left, "  -%c, --%s%s%s", o->short_name, o->name,
                                     o->arg ? " " : "", o->arg ? o->arg : "")
                          : snprintf(left, sizeof left, "      --%s%s%s", o->name,
                                     o->arg ? " " : "", o->arg ? o->arg : "");
    if (n < HELP_COLUMN)
        (void)fprintf(out, "%-*s %s", HELP_COLUMN, left, o->help);
    else
        (void)fprintf(out, "%s\n%*s %s", left, HELP_COLUMN, "", o->help);
    if (o->kind == PROP_OPT_LIST && !strstr(o->help, "repeatable"))
        (void)fputs(" (repeatable)", out);
    if (o->env)
        (void)fprintf(out, " [%s]", o->env);
    if (o->def)
        (void)fprintf(out, " (default: %s)", o->def);
    (void)fputc('\n', out);
}

void prop_cli_help_verb(const struct prop_tool *tool, const struct prop_verb *verb, FILE *out)
{
    (void)fprintf(out, "usage: %s %s [OPTIONS]%s%s\n%s\n", tool->name, verb->name,
                  *verb->args ? " " : "", verb->args, verb->summary);
    if (verb->details)
        (void)fprintf(out, "\n%s\n", verb->details);
    (void)fputs("\noptions:\n", out);
    for (const struct prop_opt *o = verb->opts; o->name; o++)
        help_option(o, out);
    for (const struct prop_opt *o = prop_cli_common; o->name; o++)
        help_option(o, out);
}

void prop_cli_version(const struct prop_tool *tool)
{
    (void)printf("%s %s\n", tool->name, PROP_VERSION);
    for (size_t i = 0; tool->libraries && tool->libraries[i]; i++)
        (void)printf("%s\n", tool->libraries[i]());
}

static void print_value(const struct prop_opt *o, const char *base)
{
    const void *field = base + o->offset;
    switch (o->kind) {
    case PROP_OPT_FLAG: (void)fputs(*(const bool *)field ? "true" : "false", stdout); break;
    case PROP_OPT_STRING: {
        const char *s = *(const char *const *)field;
        (void)fputs(s ? s : "(not set)", stdout);
        break;
    }
    case PROP_OPT_LIST: {
        const struct prop_strs *list = field;
        for (size_t i = 0; i < list->n; i++)
            (void)printf("%s%s", i ? " " : "", list->items[i]);
        if (!list->n)
            (void)fputs("(none)", stdout);
        break;
    }
    case PROP_OPT_U64:
    case PROP_OPT_SIZE: (void)printf("%llu", (unsigned long long)*(const uint64_t *)field); break;
    case PROP_OPT_DURATION:
        (void)printf("%llu ms", (unsigned long long)*(const uint64_t *)field);
        break;
    }
}

void prop_cli_show_config(struct prop_cli *cli)
{
    static const char *const origins[] = { "default", "configuration file", "environment", "flag" };
    for (int i = 0; cli->verb->opts[i].name; i++) {
        (void)printf("%-24s ", cli->verb->opts[i].name);
        print_value(&cli->verb->opts[i], cli->opts);
        (void)printf("  [%s]\n", origins[cli->origin[i]]);
    }
    if (cli->config)
        (void)printf("configuration file: %s\n", cli->config_path);
}

/* Levenshtein distance of short words. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[40];
    size_t n = strlen(b);
    if (n >= PROP_ARRAY_LEN(row) || strlen(a) >= PROP_ARRAY_LEN(row))
        return 99;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const struct prop_verb *prop_cli_nearest(const struct prop_tool *tool, const char *word)
{
    const struct prop_verb *best = NULL;
    unsigned best_distance = 3;
    for (size_t i = 0; tool->verbs[i]; i++) {
        unsigned d = distance(word, tool->verbs[i]->name);
        if (d < best_distance) {
            best_distance = d;
            best = tool->verbs[i];
        }
    }
    return best;
}
