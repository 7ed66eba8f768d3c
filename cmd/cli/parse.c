/* Options from their tables: getopt_long reads the flags; the environment, the configuration file
 * and defaults fill what no flag said. Repeating a single option is refused. */
#include "cmd/cli/internal.h"

#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define COMMON_BASE 1000 /* getopt values of the common options */
#define VERB_BASE 2000   /* ... and of the verb's */

const struct prop_opt prop_cli_common[] = {
    { "json", 0, PROP_OPT_FLAG, NULL, "one JSON document on stdout, errors as JSON on stderr",
      offsetof(struct prop_cli, json), NULL, NULL, false },
    { "quiet", 'q', PROP_OPT_FLAG, NULL, "no notes and no progress",
      offsetof(struct prop_cli, quiet), NULL, NULL, false },
    { "verbose", 'v', PROP_OPT_FLAG, NULL, "say more on stderr",
      offsetof(struct prop_cli, verbose), NULL, NULL, false },
    { "no-progress", 0, PROP_OPT_FLAG, NULL, "no progress line",
      offsetof(struct prop_cli, no_progress), NULL, NULL, false },
    { "show-config", 0, PROP_OPT_FLAG, NULL, "show each option's value and where it comes from",
      offsetof(struct prop_cli, show_config), NULL, NULL, false },
    { "help", 'h', PROP_OPT_FLAG, NULL, "this text", offsetof(struct prop_cli, help), NULL, NULL,
      false },
    PROP_OPT_END
};

static int usage(struct prop_cli *cli, struct prop_err *err, const char *id)
{
    err->id = id;
    (void)prop_err_hint(err, "try '%s %s --help'", cli->tool->name, cli->verb->name);
    return err->code;
}

static int list_add(struct prop_strs *list, const char *value, struct prop_err *err)
{
    const char **items = prop_realloc_array(list->items, list->n + 1, sizeof *items);
    if (!items)
        return prop_err_nomem(err);
    items[list->n++] = value;
    list->items = items;
    return 0;
}

/* Put one value into the option struct; `value` is NULL for flags. */
static int store(const struct prop_opt *o, const char *value, char *base, struct prop_err *err)
{
    char what[80];
    void *field = base + o->offset;
    (void)snprintf(what, sizeof what, "--%s", o->name);
    switch (o->kind) {
    case PROP_OPT_FLAG: *(bool *)field = true; return 0;
    case PROP_OPT_STRING: *(const char **)field = value; return 0;
    case PROP_OPT_LIST: return list_add(field, value, err);
    case PROP_OPT_U64: return prop_parse_u64(value, what, field, err);
    case PROP_OPT_SIZE: return prop_parse_size(value, what, field, err);
    case PROP_OPT_DURATION: return prop_parse_duration_ms(value, what, field, err);
    }
    return prop_err_set(err, PROP_E_BUG, "option kind");
}

static int bad_value(struct prop_cli *cli, struct prop_err *err)
{
    if (err->code == PROP_E_INPUT)
        err->code = PROP_E_USAGE;
    return usage(cli, err, "bad-option-value");
}

/* Rows of getopt and its short string, from both tables. */
struct rows {
    struct option longs[PROP_CLI_MAX_OPTS + 8];
    char shorts[2 * (PROP_CLI_MAX_OPTS + 8) + 2];
    size_t n, s;
};

static void add_rows(struct rows *r, const struct prop_opt *opts, int base)
{
    for (int i = 0; opts[i].name && r->n < PROP_CLI_MAX_OPTS + 7; i++) {
        int has_arg = opts[i].kind == PROP_OPT_FLAG ? no_argument : required_argument;
        r->longs[r->n++] = (struct option){ opts[i].name, has_arg, NULL, base + i };
        if (opts[i].short_name) {
            r->shorts[r->s++] = opts[i].short_name;
            if (has_arg == required_argument)
                r->shorts[r->s++] = ':';
        }
    }
}

static const struct prop_opt *by_short(const struct prop_opt *opts, int c, int *index)
{
    for (int i = 0; opts[i].name; i++)
        if (opts[i].short_name == c) {
            *index = i;
            return &opts[i];
        }
    return NULL;
}

/* The option getopt found: one of the common ones or of the verb's. */
static int take(struct prop_cli *cli, int c, const char *value, struct prop_err *err)
{
    const struct prop_opt *opts = cli->verb->opts, *o = NULL;
    int i = 0;
    if (c >= VERB_BASE)
        o = &opts[i = c - VERB_BASE];
    else if (c < COMMON_BASE)
        o = by_short(opts, c, &i);
    if (!o) {
        o = c >= COMMON_BASE ? &prop_cli_common[c - COMMON_BASE] : by_short(prop_cli_common, c, &i);
        return o ? store(o, value, (char *)cli, err) : prop_err_set(err, PROP_E_BUG, "option table");
    }
    if (cli->origin[i] == PROP_FROM_FLAG && o->kind != PROP_OPT_LIST && o->kind != PROP_OPT_FLAG) {
        (void)prop_err_set(err, PROP_E_USAGE, "--%s is given twice", o->name);
        return usage(cli, err, "option-repeated");
    }
    cli->origin[i] = PROP_FROM_FLAG;
    int rc = store(o, value, cli->opts, err);
    return rc ? bad_value(cli, err) : 0;
}

static int unknown(struct prop_cli *cli, int c, char **argv, struct prop_err *err)
{
    const char *word = optind > 0 ? argv[optind - 1] : "";
    if (c == ':')
        (void)prop_err_set(err, PROP_E_USAGE, "option '%s' needs a value", word);
    else if (optopt && optopt < COMMON_BASE)
        (void)prop_err_set(err, PROP_E_USAGE, "there is no option '-%c'", optopt);
    else
        (void)prop_err_set(err, PROP_E_USAGE, "there is no option '%s' here", word);
    return usage(cli, err, "unknown-option");
}

static int parse_flags(struct prop_cli *cli, int argc, char **argv, struct prop_err *err)
{
    struct rows r = { .n = 0, .s = 0 };
    r.shorts[r.s++] = ':'; /* missing values are told apart from unknown options */
    add_rows(&r, cli->verb->opts, VERB_BASE);
    add_rows(&r, prop_cli_common, COMMON_BASE);
    optind = 0;
    opterr = 0;
    for (;;) {
        int c = getopt_long(argc, argv, r.shorts, r.longs, NULL);
        if (c == -1)
            break;
        int rc = c == '?' || c == ':' ? unknown(cli, c, argv, err) : take(cli, c, optarg, err);
        if (rc)
            return rc;
    }
    cli->args = prop_realloc_array(NULL, (size_t)(argc - optind) + 1, sizeof *cli->args);
    if (!cli->args)
        return prop_err_nomem(err);
    for (int i = optind; i < argc; i++)
        cli->args[cli->n_args++] = argv[i];
    return 0;
}

/* The configuration file: $PROP_CONFIG, or config.json in our XDG folder when it is there. */
static int load_config(struct prop_cli *cli, struct prop_err *err)
{
    const char *named = getenv("PROP_CONFIG");
    const char *base = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (named && *named)
        cli->config_path = prop_strdup(named);
    else if (base && base[0] == '/')
        cli->config_path = prop_asprintf("%s/prop/config.json", base);
    else if (home && *home)
        cli->config_path = prop_asprintf("%s/.config/prop/config.json", home);
    else
        return 0;
    if (!cli->config_path)
        return prop_err_nomem(err);
    int rc = prop_json_parse_file(cli->config_path, PROP_LIMIT_TASK_FILE, &cli->config, err);
    if (rc == PROP_E_NOTFOUND && !(named && *named)) {
        prop_err_clear(err);
        return 0;
    }
    if (!rc && !json_is_object(cli->config))
        rc = prop_err_set_id(err, PROP_E_INPUT, "json-shape", "it is not a JSON object");
    return rc ? prop_err_wrap(err, "configuration '%s'", cli->config_path) : 0;
}

static int from_json(struct prop_cli *cli, const struct prop_opt *o, const json_t *v,
                     struct prop_err *err)
{
    if (o->kind == PROP_OPT_FLAG && json_is_boolean(v))
        return json_is_true(v) ? store(o, NULL, cli->opts, err) : 0;
    if (o->kind == PROP_OPT_LIST && json_is_array(v)) {
        size_t i;
        json_t *item;
        json_array_foreach(v, i, item) {
            if (!json_is_string(item))
                break;
            int rc = store(o, json_string_value(item), cli->opts, err);
            if (rc)
                return rc;
        }
        if (i == json_array_size(v))
            return 0;
    } else if (json_is_string(v)) {
        return store(o, json_string_value(v), cli->opts, err);
    } else if (json_is_integer(v) && o->kind == PROP_OPT_U64 && json_integer_value(v) >= 0) {
        *(uint64_t *)(void *)((char *)cli->opts + o->offset) = (uint64_t)json_integer_value(v);
        return 0;
    }
    return prop_err_set_id(err, PROP_E_INPUT, "json-shape", "configuration '%s': member '%s' has the "
                           "wrong type", cli->config_path, o->name);
}

static int fill_rest(struct prop_cli *cli, struct prop_err *err)
{
    const struct prop_opt *opts = cli->verb->opts;
    for (int i = 0; opts[i].name; i++) {
        const struct prop_opt *o = &opts[i];
        const char *env = o->env ? getenv(o->env) : NULL;
        const json_t *v = cli->config ? json_object_get(cli->config, o->name) : NULL;
        int rc = 0;
        if (cli->origin[i] == PROP_FROM_FLAG)
            continue;
        if (env && *env) {
            cli->origin[i] = PROP_FROM_ENV;
            if (o->kind != PROP_OPT_FLAG || strcmp(env, "0") != 0)
                rc = store(o, env, cli->opts, err);
            if (rc)
                (void)prop_err_wrap(err, "environment variable %s", o->env);
        } else if (v) {
            cli->origin[i] = PROP_FROM_FILE;
            rc = from_json(cli, o, v, err);
        } else if (o->def && o->kind != PROP_OPT_FLAG) {
            rc = store(o, o->def, cli->opts, err);
        }
        if (rc)
            return rc;
    }
    return 0;
}

static int check_args(struct prop_cli *cli, struct prop_err *err)
{
    const struct prop_verb *v = cli->verb;
    if (cli->n_args < v->min_args)
        (void)prop_err_set(err, PROP_E_USAGE, "'%s' needs %s", v->name, v->args);
    else if (v->max_args >= 0 && cli->n_args > v->max_args)
        (void)prop_err_set(err, PROP_E_USAGE, "'%s' is one argument too many",
                           cli->args[v->max_args]);
    else
        return 0;
    return usage(cli, err, "arguments");
}

int prop_cli_parse(struct prop_cli *cli, int argc, char **argv, struct prop_err *err)
{
    int rc = parse_flags(cli, argc, argv, err);
    if (rc || cli->help)
        return rc;
    rc = load_config(cli, err);
    if (!rc)
        rc = fill_rest(cli, err);
    if (!rc && !cli->show_config)
        rc = check_args(cli, err);
    return rc;
}
