/* Called as kbs-client, propkey takes that tool's command line (kbs.md 6), so that scripts written
 * for it go on working: same words, same output, same exit statuses (0, 1 failed, 2 usage).
 *
 * Differences, on purpose: a secret that is uploaded is echoed with --show-secret only; the preset
 * policies are our texts, and --default uploads the default policy; sample evidence is sent with
 * PROP_TEE=sample only. `config --auth-private-key KEY` of v0.20 and before works beside
 * --admin-token-file. */
#ifndef PROP_CMD_PROPKEY_KBS_CLIENT_H
#define PROP_CMD_PROPKEY_KBS_CLIENT_H

#include "util/buf.h"
#include "util/err.h"
#include "util/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What a command line may say; filled by offset. */
struct propkey_kbs_client {
    const char *url, *cert_file;
    const char *admin_token_file, *auth_private_key;
    const char *path, *resource_file, *policy_file, *type, *id;
    const char *tee_key_file, *attestation_token;
    const char *name, *value, *init_data;
    bool allow_all, deny_all, affirming, standard;
    bool as_integer, as_bool, as_single_value;
    bool show_secret;
};

struct propkey_kc_option {
    const char *name;   /* long name; NULL ends the table */
    const char *arg;    /* "PATH"; NULL = a flag */
    const char *help;
    size_t offset;      /* into struct propkey_kbs_client */
    bool required;
    bool ours;          /* not kbs-client's: in the help, not in the usage line */
    int exclusive;      /* options of one non-zero number exclude each other */
};
struct propkey_kc_positional {
    const char *name;   /* "INIT_DATA"; NULL ends the table */
    const char *help;
    size_t offset;
    bool required;
};
struct propkey_kc_command {
    const char *name;   /* NULL ends the table */
    const char *about;
    const struct propkey_kc_option *options;
    const struct propkey_kc_positional *positionals; /* or NULL */
    const struct propkey_kc_command *commands;       /* or NULL */
    int (*run)(const struct propkey_kbs_client *c, struct prop_err *err);
};

/* Read a command line of the grammar below `root`. Returns -1 with *ret_command and `c` filled, or
 * the exit status (help, version and mistakes were printed). */
int propkey_kc_parse(const struct propkey_kc_command *root, int argc, char **argv,
                     struct propkey_kbs_client *c, const struct propkey_kc_command **ret_command);

/* The commands; what they print on success is printed when they return 0. */
int propkey_kc_set_resource(const struct propkey_kbs_client *c, struct prop_err *err);
int propkey_kc_delete_resource(const struct propkey_kbs_client *c, struct prop_err *err);
int propkey_kc_set_resource_policy(const struct propkey_kbs_client *c, struct prop_err *err);
int propkey_kc_set_attestation_policy(const struct propkey_kbs_client *c, struct prop_err *err);
int propkey_kc_set_reference_value(const struct propkey_kbs_client *c, struct prop_err *err);
int propkey_kc_get_reference_value(const struct propkey_kbs_client *c, struct prop_err *err);
int propkey_kc_get_resource(const struct propkey_kbs_client *c, struct prop_err *err);
int propkey_kc_attest(const struct propkey_kbs_client *c, struct prop_err *err);

/* A failure in that tool's words is printed ("Error: ..." and what caused it) where it happens, and
 * this is returned, so that nobody prints it again. */
enum { PROPKEY_KC_SAID = -100 };
/* "Error: <text>" and the numbered list of causes (NULL ends). Returns PROPKEY_KC_SAID. */
int propkey_kc_error(const char *text, const char *const *causes);
/* The same for a local file, from errno's number. */
int propkey_kc_os_error(int number);
/* A word on stderr, unless RUST_LOG silences warnings. */
void propkey_kc_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Read a file of secrets; others being able to read it is worth a warning. A failure is printed. */
int propkey_kc_read_secret(const char *path, size_t max, struct prop_secret **ret);

/* Who we are to the admin API: the Authorization value, or NULL in *ret for nobody. */
int propkey_kc_bearer(const struct propkey_kbs_client *c, struct prop_secret **ret,
                      struct prop_err *err);

/* As Rust's {:?} shows a string, quotes included. */
int propkey_kc_debug(const char *text, size_t len, struct prop_buf *out, struct prop_err *err);

/* Everything: `argv` is kbs-client's own. Returns the exit status. */
int propkey_kbs_client_main(int argc, char **argv);

#endif
