/* One rule more or less: what 'policy add' and 'policy remove' share. */
#ifndef PROP_CMD_PROPKEY_POLICY_CHANGE_H
#define PROP_CMD_PROPKEY_POLICY_CHANGE_H

#include "cmd/propkey/policy_upload.h"

struct propkey_change_opts {
    struct prop_kbs_opts kbs;
    struct prop_strs measured;
    const char *policy_doc, *resource;
    bool replace_policy, allow_wider, no_upload, dry_run;
};
#define PROPKEY_CHANGE_OPTIONS(type, member)                                                       \
    PROP_KBS_OPTIONS(type, member.kbs),                                                            \
    PROP_KBS_ADMIN_OPTIONS(type, member.kbs),                                                      \
    { "policy-doc", 0, PROP_OPT_STRING, "FILE",                                                    \
      "the policy document to change (kept in git); else the one uploaded last from here",         \
      offsetof(type, member.policy_doc), NULL, NULL, false },                                      \
    { "resource", 0, PROP_OPT_STRING, "PATTERN", "repository/type/tag; a part may hold one '*'",   \
      offsetof(type, member.resource), NULL, NULL, false },                                        \
    { "measured", 0, PROP_OPT_LIST, "FILE",                                                        \
      "values for rules that say 'measured': what 'propcvm vm measure --json' prints; repeatable", \
      offsetof(type, member.measured), NULL, NULL, false },                                        \
    { "replace-policy", 0, PROP_OPT_FLAG, NULL,                                                    \
      "replace what the key broker has, also where nobody here knows what that is",                \
      offsetof(type, member.replace_policy), NULL, NULL, false },                                  \
    { "allow-wider", 0, PROP_OPT_FLAG, NULL,                                                       \
      "the document may let in more, elsewhere too, than what was uploaded last from here",        \
      offsetof(type, member.allow_wider), NULL, NULL, false },                                     \
    { "no-upload", 0, PROP_OPT_FLAG, NULL, "change the document only",                             \
      offsetof(type, member.no_upload), NULL, NULL, false },                                       \
    { "dry-run", 0, PROP_OPT_FLAG, NULL, "check everything here, change nothing",                  \
      offsetof(type, member.dry_run), NULL, NULL, false }

struct propkey_change {
    struct propkey_policy_target target; /* kbs NULL with --no-upload */
    const struct propkey_change_opts *opts;
    struct prop_policy_file file;        /* path NULL: the document is the ledger's */
    struct prop_policy_doc *doc;
    json_t *measured;
};
#define PROPKEY_CHANGE_INIT(c, o)                                                                  \
    { { (c), NULL, NULL, PROP_POLICY_KNOWN_INIT }, (o), PROP_POLICY_FILE_INIT, NULL, NULL }
void propkey_change_release(struct propkey_change *c);
#define propkey_auto_change __attribute__((cleanup(propkey_change_release)))

/* The document, once it is sure that it has all that is known to be on the key broker.
 * Fails: PROP_E_USAGE (id "policy-unknown", "policy-loses-rule", "policy-differs", "no-policy-doc"; "policy-wider"
 * when the document as it is already gives out more than was uploaded last from here, and nobody
 * said that this may go up too). */
int propkey_change_begin(struct propkey_change *c, struct prop_err *err);
/* Build the changed document, upload it, write it back, remember it, print the result with `more`
 * in it (borrowed). */
int propkey_change_finish(struct propkey_change *c, json_t *more, struct prop_err *err);

#endif
