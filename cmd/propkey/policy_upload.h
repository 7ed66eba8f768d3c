/* Uploading a resource policy: parsed here first, never wider by accident, remembered. All of it
 * under the ledger's lock, so that changes from one machine wait for each other. */
#ifndef PROP_CMD_PROPKEY_POLICY_UPLOAD_H
#define PROP_CMD_PROPKEY_POLICY_UPLOAD_H

#include "cmd/cli/kbs_opts.h"
#include "policy/docfile.h"
#include "policy/known.h"

struct propkey_policy_opts {
    struct prop_kbs_opts kbs;
    struct prop_strs measured;
    bool allow_wider, dry_run;
};

#define PROPKEY_POLICY_OPTIONS                                                                     \
    PROP_KBS_OPTIONS(struct propkey_policy_opts, kbs),                                             \
    PROP_KBS_ADMIN_OPTIONS(struct propkey_policy_opts, kbs),                                       \
    { "dry-run", 0, PROP_OPT_FLAG, NULL, "check everything here, upload nothing",                  \
      offsetof(struct propkey_policy_opts, dry_run), NULL, NULL, false }
#define PROPKEY_MEASURED_OPTION(type)                                                              \
    { "measured", 0, PROP_OPT_LIST, "FILE",                                                        \
      "values for rules that say 'measured': what 'propcvm vm measure --json' prints; repeatable", \
      offsetof(type, measured), NULL, NULL, false }
#define PROPKEY_WIDER_OPTION(type)                                                                 \
    { "allow-wider", 0, PROP_OPT_FLAG, NULL, "the policy may let in more than the one before",     \
      offsetof(type, allow_wider), NULL, NULL, false }

/* A key broker, and what is known of its policy. */
struct propkey_policy_target {
    struct prop_cli *cli;
    struct prop_kbs *kbs;
    struct prop_ledger *ledger;     /* held; NULL after a warning */
    struct prop_policy_known last;  /* what this machine uploaded last */
};
int propkey_policy_open(struct prop_cli *cli, const struct prop_kbs_opts *o,
                        struct propkey_policy_target *ret, struct prop_err *err);
void propkey_policy_close(struct propkey_policy_target *t);
#define propkey_auto_policy_target __attribute__((cleanup(propkey_policy_close)))

/* Servers before v0.19 give their policy's text back: it must be what was uploaded last from here,
 * where that is known. PROP_E_USAGE (id "policy-differs"). A server that does not tell is fine. */
int propkey_policy_check_server(struct propkey_policy_target *t, struct prop_err *err);

/* What to upload, and what to tell about it. */
struct propkey_policy_text {
    const char *name;               /* where it comes from */
    const char *rego;
    size_t len;
    const char *document;           /* remembered with it; NULL = none */
    const struct prop_policy_file *file; /* replaced by file_text after the upload; NULL = none */
    const struct prop_buf *file_text;
    json_t *more;                   /* further members of the result; borrowed, NULL = none */
    bool dry_run;
};
/* Parse, upload, replace the document's file, remember, print the result.
 * Fails: PROP_E_INPUT (id "rego-syntax"). */
int propkey_policy_send(struct propkey_policy_target *t, const struct propkey_policy_text *text,
                        struct prop_err *err);

/* Upload `rego` as the one policy of the key broker and print the result. `name` says where the
 * text comes from; `may_widen`: the user said that more may be let in.
 * Fails: PROP_E_INPUT (id "rego-syntax"); PROP_E_USAGE (id "policy-wider") without may_widen,
 * unless the text denies everybody or is the last one uploaded from here. */
int propkey_policy_upload(struct prop_cli *cli, const struct propkey_policy_opts *o,
                          const char *name, const char *rego, size_t len, bool may_widen,
                          struct prop_err *err);

/* Would `rules` let in more than the last upload? Refuses unless allow_wider; says on stderr who
 * loses something, and puts "change" and "examples" into `more`.
 * Fails: PROP_E_USAGE (id "policy-wider"). */
int propkey_policy_check_wider(struct propkey_policy_target *t, const json_t *rules,
                               bool allow_wider, json_t *more, struct prop_err *err);

/* The files of --measured as one list (policy/measured.h), owned. */
int propkey_policy_measured(const struct prop_strs *files, json_t **ret, struct prop_err *err);

#endif
