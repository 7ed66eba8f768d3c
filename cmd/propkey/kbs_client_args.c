/* kbs-client's command line, read and refused the way its parser (clap) does: options stand at the
 * level they belong to, a command follows, and a mistake prints what it is, the usage line and
 * where help is, with exit status 2. */
#include "cmd/propkey/kbs_client.h"

#include "util/mem.h"
#include "util/text.h"

#include <string.h>

enum { DEPTH_MAX = 4, USAGE = 2, GO_ON = -1, TEXT_MAX = 2048, HELP_COLUMN_MAX = 44 };

struct parser {
    struct propkey_kbs_client *c;
    const struct propkey_kc_command *levels[DEPTH_MAX];
    int depth;                /* levels in use */
    int argc, at;
    char **argv;
    bool only_positionals;    /* "--" was seen */
    const struct propkey_kc_option *given[32]; /* at this level, in the order given */
    size_t n_given, n_positionals;
};

static const struct propkey_kc_command *here(const struct parser *p)
{
    return p->levels[p->depth - 1];
}

/* Growing text of one usage line; what does not fit is cut, nothing of ours is that long. */
struct line {
    char text[TEXT_MAX];
    size_t len;
};

static void add(struct line *l, const char *a, const char *b, const char *c)
{
    int n = snprintf(l->text + l->len, sizeof l->text - l->len, "%s%s%s", a, b, c);
    if (n > 0)
        l->len += (size_t)n < sizeof l->text - l->len ? (size_t)n : sizeof l->text - l->len - 1;
}

static void add_option(struct line *l, const struct propkey_kc_option *o)
{
    add(l, "--", o->name, "");
    if (o->arg)
        add(l, " <", o->arg, ">");
}

static void add_positionals(struct line *l, const struct propkey_kc_command *cmd)
{
    for (const struct propkey_kc_positional *a = cmd->positionals; a && a->name; a++)
        add(l, a->required ? " <" : " [", a->name, a->required ? ">" : "]");
}

static void add_path(struct line *l, const struct parser *p)
{
    for (int i = 0; i < p->depth; i++)
        add(l, i ? " " : "", p->levels[i]->name, "");
}

static void usage_line(const struct parser *p, struct line *l)
{
    const struct propkey_kc_command *cmd = here(p);
    bool optional = false;
    add_path(l, p);
    for (const struct propkey_kc_option *o = cmd->options; o->name; o++)
        optional = optional || (!o->required && !o->ours);
    if (optional)
        add(l, " [OPTIONS]", "", "");
    for (const struct propkey_kc_option *o = cmd->options; o->name; o++)
        if (o->required) {
            add(l, " ", "", "");
            add_option(l, o);
        }
    add_positionals(l, cmd);
    if (cmd->commands)
        add(l, " <COMMAND>", "", "");
}

/* --- help ----------------------------------------------------------------------------------- */

static void help_row(FILE *out, const char *name, size_t width, const char *text)
{
    if (width > HELP_COLUMN_MAX)
        (void)fprintf(out, "  %s\n          %s\n", name, text);
    else
        (void)fprintf(out, "  %-*s  %s\n", (int)width, name, text);
}

static size_t longest_option(const struct propkey_kc_command *cmd)
{
    size_t width = strlen("-V, --version");
    for (const struct propkey_kc_option *o = cmd->options; o->name; o++) {
        size_t n = strlen("    --") + strlen(o->name) + (o->arg ? strlen(o->arg) + 3 : 0);
        width = n > width ? n : width;
    }
    return width;
}

static void help_commands(FILE *out, const struct propkey_kc_command *cmd)
{
    size_t width = strlen("help");
    for (const struct propkey_kc_command *s = cmd->commands; s->name; s++)
        width = strlen(s->name) > width ? strlen(s->name) : width;
    (void)fputs("\nCommands:\n", out);
    for (const struct propkey_kc_command *s = cmd->commands; s->name; s++)
        help_row(out, s->name, width, s->about);
    help_row(out, "help", width, "print this, or the help of a command");
}

static void help(const struct parser *p, FILE *out)
{
    const struct propkey_kc_command *cmd = here(p);
    struct line usage = { .len = 0 };
    usage_line(p, &usage);
    (void)fprintf(out, "%s\n\nUsage: %s\n", cmd->about, usage.text);
    if (cmd->commands)
        help_commands(out, cmd);
    if (cmd->positionals)
        (void)fputs("\nArguments:\n", out);
    for (const struct propkey_kc_positional *a = cmd->positionals; a && a->name; a++)
        (void)fprintf(out, "  %c%s%c  %s\n", a->required ? '<' : '[', a->name,
                      a->required ? '>' : ']', a->help);
    (void)fputs("\nOptions:\n", out);
    size_t width = longest_option(cmd);
    for (const struct propkey_kc_option *o = cmd->options; o->name; o++) {
        struct line name = { .len = 0 };
        add(&name, "    ", "", "");
        add_option(&name, o);
        help_row(out, name.text, width, o->help);
    }
    help_row(out, "-h, --help", width, "print this");
    if (p->depth == 1)
        help_row(out, "-V, --version", width, "print the version");
}

/* --- mistakes ------------------------------------------------------------------------------- */

static int mistake(const struct parser *p, const char *what, const struct line *usage)
{
    struct line own = { .len = 0 };
    if (!usage) {
        usage_line(p, &own);
        usage = &own;
    }
    (void)fprintf(stderr, "error: %s\n\nUsage: %s\n\nFor more information, try '--help'.\n", what,
                  usage->text);
    return USAGE;
}

static int unexpected(const struct parser *p, const char *word)
{
    char shown[512];
    struct line what = { .len = 0 };
    (void)prop_printable(word, strlen(word), shown, sizeof shown);
    add(&what, here(p)->commands && word[0] != '-' ? "unrecognized subcommand '"
                                                   : "unexpected argument '", shown,
        here(p)->commands && word[0] != '-' ? "'" : "' found");
    return mistake(p, what.text, NULL);
}

static int unwanted_value(const struct parser *p, const struct propkey_kc_option *o,
                          const char *value)
{
    char shown[512];
    struct line what = { .len = 0 };
    (void)prop_printable(value, strlen(value), shown, sizeof shown);
    add(&what, "unexpected value '", shown, "' for '--");
    add(&what, o->name, "' found; no more were expected", "");
    return mistake(p, what.text, NULL);
}

static int needs_value(const struct propkey_kc_option *o)
{
    (void)fprintf(stderr, "error: a value is required for '--%s <%s>' but none was supplied\n\n"
                          "For more information, try '--help'.\n", o->name, o->arg);
    return USAGE;
}

static int excluded(const struct parser *p, const struct propkey_kc_option *first,
                    const struct propkey_kc_option *second)
{
    struct line what = { .len = 0 }, usage = { .len = 0 };
    add(&what, "the argument '", "", "");
    add_option(&what, first);
    if (first == second) {
        add(&what, "' cannot be used multiple times", "", "");
        return mistake(p, what.text, NULL);
    }
    add(&what, "' cannot be used with '", "", "");
    add_option(&what, second);
    add(&what, "'", "", "");
    add_path(&usage, p);
    add(&usage, " ", "", "");
    add_option(&usage, first);
    add_positionals(&usage, here(p));
    return mistake(p, what.text, &usage);
}

static bool was_given(const struct parser *p, const struct propkey_kc_option *o)
{
    for (size_t i = 0; i < p->n_given; i++)
        if (p->given[i] == o)
            return true;
    return false;
}

/* The command's own rules, once all its words are read. */
static int check(const struct parser *p)
{
    const struct propkey_kc_command *cmd = here(p);
    struct line missing = { .len = 0 };
    size_t n = 0;
    for (const struct propkey_kc_option *o = cmd->options; o->name; o++)
        if (o->required && !was_given(p, o)) {
            add(&missing, "\n  ", "", "");
            add_option(&missing, o);
        }
    for (const struct propkey_kc_positional *a = cmd->positionals; a && a->name; a++)
        if (n++ >= p->n_positionals && a->required)
            add(&missing, "\n  <", a->name, ">");
    if (!missing.len)
        return GO_ON;
    struct line what = { .len = 0 };
    add(&what, "the following required arguments were not provided:", missing.text, "");
    return mistake(p, what.text, NULL);
}

/* --- reading -------------------------------------------------------------------------------- */

static const struct propkey_kc_option *find(const struct propkey_kc_command *cmd, const char *name,
                                            size_t len)
{
    for (const struct propkey_kc_option *o = cmd->options; o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

static int take_option(struct parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    const struct propkey_kc_option *o = find(here(p), word + 2, len);
    if (!o)
        return unexpected(p, word);
    if (!o->arg && equals)
        return unwanted_value(p, o, equals + 1);
    for (size_t i = 0; i < p->n_given; i++)
        if (p->given[i] == o || (o->exclusive && p->given[i]->exclusive == o->exclusive))
            return excluded(p, p->given[i], o);
    char *field = (char *)p->c + o->offset;
    p->given[p->n_given++] = o; /* each option once, and no level has more than the array holds */
    if (!o->arg) {
        *(bool *)(void *)field = true;
        return GO_ON;
    }
    const char *value = equals ? equals + 1 : NULL;
    if (!equals && p->at < p->argc && (p->argv[p->at][0] != '-' || !p->argv[p->at][1]))
        value = p->argv[p->at++];
    if (!value)
        return needs_value(o);
    *(const char **)(void *)field = value;
    return GO_ON;
}

static int take_positional(struct parser *p, const char *word)
{
    size_t n = 0;
    for (const struct propkey_kc_positional *a = here(p)->positionals; a && a->name; a++)
        if (n++ == p->n_positionals) {
            *(const char **)(void *)((char *)p->c + a->offset) = word;
            p->n_positionals++;
            return GO_ON;
        }
    return unexpected(p, word);
}

static const struct propkey_kc_command *find_command(const struct propkey_kc_command *cmd,
                                                     const char *name)
{
    for (const struct propkey_kc_command *s = cmd->commands; s && s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static void enter(struct parser *p, const struct propkey_kc_command *cmd)
{
    p->levels[p->depth++] = cmd;
    p->n_given = 0;
    p->n_positionals = 0;
}

/* "help config set-resource" */
static int help_for(struct parser *p)
{
    while (p->at < p->argc) {
        const char *word = p->argv[p->at++];
        const struct propkey_kc_command *cmd = find_command(here(p), word);
        if (!cmd)
            return unexpected(p, word);
        enter(p, cmd);
    }
    help(p, stdout);
    return 0;
}

static int take_word(struct parser *p, const char *word)
{
    if (!p->only_positionals && word[0] == '-' && word[1]) {
        if (strcmp(word, "--") == 0) {
            p->only_positionals = true;
            return GO_ON;
        }
        if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
            help(p, stdout);
            return 0;
        }
        if (p->depth == 1 && (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0)) {
            (void)puts("KBS client 0.1.0");
            return 0;
        }
        return word[1] == '-' ? take_option(p, word) : unexpected(p, word);
    }
    if (!here(p)->commands)
        return take_positional(p, word);
    if (strcmp(word, "help") == 0)
        return help_for(p);
    const struct propkey_kc_command *cmd = find_command(here(p), word);
    if (!cmd)
        return unexpected(p, word);
    enter(p, cmd);
    return GO_ON;
}

int propkey_kc_parse(const struct propkey_kc_command *root, int argc, char **argv,
                     struct propkey_kbs_client *c, const struct propkey_kc_command **ret_command)
{
    struct parser p = { .c = c, .argc = argc, .argv = argv };
    enter(&p, root);
    while (p.at < argc) {
        int status = take_word(&p, argv[p.at++]);
        if (status != GO_ON)
            return status;
    }
    if (here(&p)->commands) {
        help(&p, stderr);
        return USAGE;
    }
    *ret_command = here(&p);
    return check(&p);
}
