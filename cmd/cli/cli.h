/* The command-line layer all tools share: verbs and options are tables, and parsing, --help,
 * --show-config, errors, exit codes, --json and progress come from here.
 *
 * A tool is a table of verbs; a verb is a name ("policy set" for two words), a table of options
 * that fill the verb's own option struct by offset, and a run function:
 *
 *     struct gen_opts { const char *out; bool force; };
 *     static const struct prop_opt gen_options[] = {
 *         { "out", 'o', PROP_OPT_STRING, "FILE", "write the key here", offsetof(struct gen_opts, out) },
 *         PROP_OPT_END
 *     };
 *     const struct prop_verb propkey_verb_gen = { "gen", "[FILE]", "make a key", NULL, gen_options,
 *         sizeof(struct gen_opts), 0, 1, run_gen };
 *
 * run returns 0 or a negative enum prop_code with err filled; results go out through
 * prop_cli_result. Values come from: flag, environment, configuration file, default (in that
 * order); the configuration file is JSON, $XDG_CONFIG_HOME/prop/config.json or $PROP_CONFIG, an
 * object of long option names.
 */
#ifndef PROP_CMD_CLI_CLI_H
#define PROP_CMD_CLI_CLI_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum prop_opt_kind {
    PROP_OPT_FLAG,     /* bool: true when given */
    PROP_OPT_STRING,   /* const char *: given at most once */
    PROP_OPT_LIST,     /* struct prop_strs: repeatable */
    PROP_OPT_U64,      /* uint64_t, decimal */
    PROP_OPT_SIZE,     /* uint64_t bytes, suffixes K M G */
    PROP_OPT_DURATION  /* uint64_t milliseconds, suffixes ms s m h; plain numbers are seconds */
};

struct prop_strs {
    const char **items; /* borrowed strings, owned array */
    size_t n;
};

struct prop_opt {
    const char *name;    /* long name without dashes; NULL ends the table */
    char short_name;     /* 0 = none */
    enum prop_opt_kind kind;
    const char *arg;     /* what --help calls the value; NULL for flags */
    const char *help;    /* one line */
    size_t offset;       /* into the verb's option struct */
    const char *env;     /* environment variable that gives a default, or NULL */
    const char *def;     /* default as text, shown in --help; NULL = zero */
    bool hidden;         /* accepted, not in --help (compatibility spellings) */
};
#define PROP_OPT_END { NULL, 0, PROP_OPT_FLAG, NULL, NULL, 0, NULL, NULL, false }

struct prop_cli;

struct prop_verb {
    const char *name;     /* "encrypt", "policy set" */
    const char *args;     /* "SRC DST" as shown in usage */
    const char *summary;  /* one line */
    const char *details;  /* paragraphs and examples under --help, or NULL */
    const struct prop_opt *opts;
    size_t opts_size;     /* sizeof the option struct; zeroed before parsing */
    int min_args, max_args; /* max -1 = any number (after "--" too) */
    int (*run)(struct prop_cli *cli, void *opts, struct prop_err *err);
};

struct prop_tool {
    const char *name;
    const char *summary;
    const struct prop_verb *const *verbs; /* NULL ends */
    /* added to the class of a failure's exit code, except usage: propcvm run uses 100 (design.md 2) */
    int (*exit_code)(const char *verb, const struct prop_err *err); /* NULL = the common table */
    /* "name version" of what the tool is built on, for --version; NULL ends; may be NULL */
    const char *(*const *libraries)(void);
};

/* main() of every tool. Returns the exit status. */
int prop_cli_main(const struct prop_tool *tool, int argc, char **argv);

/* Inside run: the positional arguments. */
int prop_cli_argc(const struct prop_cli *cli);
const char *prop_cli_arg(const struct prop_cli *cli, int i); /* NULL past the end */
bool prop_cli_json(const struct prop_cli *cli);
bool prop_cli_quiet(const struct prop_cli *cli);
bool prop_cli_verbose(const struct prop_cli *cli);
/* True when the option was given by flag, environment or configuration file. */
bool prop_cli_given(const struct prop_cli *cli, const char *long_name);

/* Give the verb's result. With --json the document goes to stdout in one line, with "version":1
 * added; otherwise `human` prints it (NULL: "key: value" lines). `doc` is borrowed. Called at most
 * once; nothing reaches stdout before. Fails: PROP_E_IO when stdout cannot be written. */
int prop_cli_result(struct prop_cli *cli, const json_t *doc,
                    void (*human)(const json_t *doc, void *stream), struct prop_err *err);
/* Raw bytes to stdout (plaintext, tokens). Binary to a terminal is refused: PROP_E_USAGE. */
int prop_cli_write(struct prop_cli *cli, const void *data, size_t len, struct prop_err *err);

/* Talk on stderr: "propenc: warning: ...", "propenc: note: ..." (notes not with --quiet). */
void prop_cli_warn(struct prop_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void prop_cli_note(struct prop_cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Exit with this status after run returned 0 (the guest's own status; "the answer is no"). */
void prop_cli_set_status(struct prop_cli *cli, int status);

/* Progress of one transfer, on a terminal only, after one second. Passed down as a callback:
 * rooms below call prop_progress_fn(ctx, done, total) as they go. */
void prop_cli_progress(void *cli, const char *what, uint64_t done, uint64_t total);

/* True after SIGINT or SIGTERM: long operations stop with PROP_E_INTERRUPTED (id "interrupted").
 * A second signal ends the process. The flag is util/stop.h's, so that rooms can ask. */

/* Exit status for a failure: the table of design.md section 2. */
int prop_exit_code(const struct prop_err *err);

#endif
