/* The common main: find the verb, parse, run, report. */
#include "cmd/cli/internal.h"

#include "util/mem.h"
#include "util/secret.h"
#include "util/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_signal(int number)
{
    if (prop_stop_requested())
        _exit(128 + number); /* the second one ends at once */
    prop_stop_request(number);
}

static void install_signals(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    sa.sa_handler = SIG_IGN; /* a closed pipe is an error of write, not the end; so is a file limit */
    (void)sigaction(SIGPIPE, &sa, NULL);
    (void)sigaction(SIGXFSZ, &sa, NULL);
}

/* A descriptor that came closed would be the next socket or file we open, and what is meant for
 * standard output (a key, a module) would go there. Opened the wrong way round, using it is an
 * error; standard error alone may be silent. */
static void hold_standard_descriptors(void)
{
    static const int mode[] = { O_WRONLY, O_RDONLY, O_WRONLY };
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        int got = open("/dev/null", mode[fd]);
        if (got < 0)
            got = open("/", O_RDONLY); /* no /dev here: neither to be read nor written */
        if (got != fd)
            _exit(70);
    }
}

/* Match argv[1], or argv[1] and argv[2] for verbs of two words. */
static const struct prop_verb *find_verb(const struct prop_tool *tool, int argc, char **argv,
                                         int *ret_words)
{
    char two[128];
    (void)snprintf(two, sizeof two, "%s %s", argv[1], argc > 2 ? argv[2] : "");
    for (int words = 2; words >= 1; words--)
        for (size_t i = 0; tool->verbs[i]; i++)
            if (strcmp(tool->verbs[i]->name, words == 2 ? two : argv[1]) == 0) {
                *ret_words = words;
                return tool->verbs[i];
            }
    return NULL;
}

/* "policy" alone, where verbs "policy set" and so on exist: name them. */
static bool is_group(const struct prop_tool *tool, const char *word, char *list, size_t size)
{
    size_t n = strlen(word), used = 0;
    list[0] = 0;
    for (size_t i = 0; tool->verbs[i]; i++) {
        const char *name = tool->verbs[i]->name;
        if (strncmp(name, word, n) == 0 && name[n] == ' ' && used < size)
            used += (size_t)snprintf(list + used, size - used, "%s%s", used ? ", " : "", name + n + 1);
    }
    return used > 0;
}

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static int exit_status(const struct prop_cli *cli, const struct prop_err *err)
{
    if (cli->tool->exit_code && cli->verb)
        return cli->tool->exit_code(cli->verb->name, err);
    return prop_exit_code(err);
}

/* Output that could not be written is a failure, whatever the verb says. */
static int flush_output(struct prop_cli *cli, int status)
{
    struct prop_err err = PROP_ERR_INIT;
    errno = EIO; /* for a write that failed before: its own reason is gone */
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    (void)prop_err_sys(&err, PROP_E_IO, "write to standard output");
    prop_cli_report(cli, &err);
    return exit_status(cli, &err);
}

static int no_verb(struct prop_cli *cli, int argc, char **argv)
{
    const struct prop_tool *tool = cli->tool;
    struct prop_err err = PROP_ERR_INIT;
    char list[256];
    if (argc == 3 && is_help(argv[2]) && is_group(tool, argv[1], list, sizeof list)) {
        prop_cli_help_group(tool, argv[1], stdout);
        return flush_output(cli, 0);
    }
    if (argc < 2) {
        (void)prop_err_set_id(&err, PROP_E_USAGE, "no-verb", "what to do is missing");
    } else if (is_group(tool, argv[1], list, sizeof list)) {
        (void)prop_err_set_id(&err, PROP_E_USAGE, "unknown-verb", "'%s' needs one of: %s", argv[1],
                              list);
    } else {
        const struct prop_verb *near = prop_cli_nearest(tool, argv[1]);
        (void)prop_err_set_id(&err, PROP_E_USAGE, "unknown-verb", "there is no verb '%s'", argv[1]);
        if (near)
            (void)prop_err_hint(&err, "did you mean '%s'?", near->name);
    }
    (void)prop_err_hint(&err, "try '%s --help'", tool->name);
    for (int i = 1; i < argc; i++)
        cli->json = cli->json || strcmp(argv[i], "--json") == 0;
    prop_cli_report(cli, &err);
    return prop_exit_code(&err);
}

static void release(struct prop_cli *cli)
{
    for (int i = 0; cli->opts && cli->verb->opts[i].name; i++) {
        if (cli->verb->opts[i].kind != PROP_OPT_LIST)
            continue;
        /* Two spellings of an option may share a field. */
        struct prop_strs *list = (void *)((char *)cli->opts + cli->verb->opts[i].offset);
        prop_free(list->items);
        *list = (struct prop_strs){ NULL, 0 };
    }
    prop_free(cli->opts);
    prop_free(cli->args);
    prop_free(cli->config_path);
    json_decref(cli->config);
}

static int run_verb(struct prop_cli *cli, int argc, char **argv, struct prop_err *err)
{
    cli->opts = prop_zalloc(cli->verb->opts_size ? cli->verb->opts_size : 1);
    if (!cli->opts)
        return prop_err_nomem(err);
    /* --json must already count when the command line itself is wrong. */
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        cli->json = cli->json || strcmp(argv[i], "--json") == 0;
    int rc = prop_cli_parse(cli, argc, argv, err);
    if (rc)
        return rc;
    if (cli->help) {
        prop_cli_help_verb(cli->tool, cli->verb, stdout);
        return 0;
    }
    if (cli->show_config) {
        prop_cli_show_config(cli);
        return 0;
    }
    return cli->verb->run(cli, cli->opts, err);
}

/* Common flags may stand before the verb, as skopeo's do: they are moved behind its words. */
static int is_common_flag(const char *arg)
{
    for (const struct prop_opt *o = prop_cli_common; o->name; o++)
        if ((arg[0] == '-' && arg[1] == '-' && strcmp(arg + 2, o->name) == 0) ||
            (o->short_name && arg[0] == '-' && arg[1] == o->short_name && !arg[2]))
            return strcmp(o->name, "help") != 0;
    return 0;
}

static void move_leading_flags(const struct prop_tool *tool, int argc, char **argv)
{
    int n = 0, words = 1;
    while (n + 1 < argc && is_common_flag(argv[n + 1]))
        n++;
    if (!n || n + 1 >= argc || !find_verb(tool, argc - n, argv + n, &words))
        return;
    for (; n; n--) { /* bubble the last flag behind the verb's words */
        char *flag = argv[n];
        for (int i = 0; i < words; i++)
            argv[n + i] = argv[n + i + 1];
        argv[n + words] = flag;
    }
}

int prop_cli_main(const struct prop_tool *tool, int argc, char **argv)
{
    struct prop_cli cli = { .tool = tool };
    struct prop_err err = PROP_ERR_INIT;
    int words = 1;
    hold_standard_descriptors();
    prop_secret_harden_process();
    install_signals();
    if (argc > 1 && (is_help(argv[1]) || (argc == 2 && strcmp(argv[1], "help") == 0))) {
        prop_cli_help_tool(tool, stdout);
        return flush_output(&cli, 0);
    }
    if (argc > 2 && strcmp(argv[1], "help") == 0) { /* "help policy set": as "policy set --help" */
        static char help[] = "--help";
        for (int i = 1; i + 1 < argc; i++)
            argv[i] = argv[i + 1];
        argv[argc - 1] = help;
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        prop_cli_version(tool);
        return flush_output(&cli, 0);
    }
    move_leading_flags(tool, argc, argv);
    cli.verb = argc > 1 ? find_verb(tool, argc, argv, &words) : NULL;
    if (!cli.verb)
        return no_verb(&cli, argc, argv);
    /* The verb's last word takes the place of argv[0] for getopt. */
    int rc = run_verb(&cli, argc - words, argv + words, &err);
    int status = cli.status;
    if (rc) {
        prop_cli_report(&cli, &err);
        status = exit_status(&cli, &err);
    } else {
        status = flush_output(&cli, status);
    }
    release(&cli);
    return status;
}
