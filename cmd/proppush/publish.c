/* proppush publish SRC DST: key, encryption, upload, policy, key to the KBS, proof, name: one
 * transaction (publish/publish.h). Steps are told on stderr as they end; the result, with the run
 * command that pins what was published, is on stdout. */
#include "publish/publish.h"

#include "cmd/cli/cli.h"
#include "cmd/cli/kbs_opts.h"
#include "cmd/cli/oci_opts.h"
#include "cmd/proppush/actions.h"
#include "cmd/proppush/kept_opts.h"
#include "cmd/proppush/publish_report.h"
#include "util/file.h"
#include "util/mem.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

struct publish_opts {
    struct prop_kbs_opts kbs;
    struct prop_oci_opts oci;
    const char *kid, *kek;
    bool replace_key;
    struct prop_strs allow, measured;
    bool allow_any_guest, this_is_a_test;
    const char *policy_doc;
    bool replace_policy;
    struct prop_strs recipients;
    const char *title;
    bool dry_run, resume, abort, forget, list;
};

extern const struct prop_verb proppush_verb_publish;

#define AT(member) offsetof(struct publish_opts, member)

static const struct prop_opt options[] = {
    { "kid", 0, PROP_OPT_STRING, "kbs:///r/t/n",
      "the key's name in the KBS (default: kbs:///default/key/NAME-<KEK fingerprint>)", AT(kid), NULL,
      NULL, false },
    { "kek", 0, PROP_OPT_STRING, "FILE",
      "the key encryption key, 32 bytes or their base64 (default: a new one, kept on this machine)",
      AT(kek), NULL, NULL, false },
    { "replace-key", 0, PROP_OPT_FLAG, NULL, "overwrite the key under --kid: its images are lost",
      AT(replace_key), NULL, NULL, false },
    { "allow", 0, PROP_OPT_LIST, "RULE",
      "who may have the key (repeatable): tee=snp,measurement=sha384:HEX or tee=tdx,tier=affirming; "
      "without it the policy is left alone",
      AT(allow), NULL, NULL, false },
    { "measured", 0, PROP_OPT_LIST, "FILE",
      "'propcvm vm measure --json' of who may have the key (repeatable); pins --allow rules of that tee",
      AT(measured), NULL, NULL, false },
    { "allow-any-guest", 0, PROP_OPT_FLAG, NULL,
      "with --allow tee=NAME: any guest on such hardware, whatever runs in it", AT(allow_any_guest),
      NULL, NULL, false },
    { "i-know-this-is-a-test", 0, PROP_OPT_FLAG, NULL,
      "take --allow tee=sample for a KBS that is not on this machine", AT(this_is_a_test), NULL, NULL,
      false },
    { "policy-doc", 0, PROP_OPT_STRING, "FILE", "the policy document the rules are added to",
      AT(policy_doc), NULL, NULL, false },
    { "replace-policy", 0, PROP_OPT_FLAG, NULL,
      "replace the policy of the KBS though nobody here knows what it is", AT(replace_policy), NULL,
      NULL, false },
    { "recipient", 'r', PROP_OPT_LIST, "RECIPIENT", "a further recipient (repeatable): jwe:PUBKEY.pem",
      AT(recipients), NULL, NULL, false },
    { "title", 0, PROP_OPT_STRING, "NAME",
      "title of a bare module's layer (default: its file name; '' for none)", AT(title), NULL, NULL,
      false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "check everything, say what would be done, change nothing",
      AT(dry_run), NULL, NULL, false },
    { "resume", 0, PROP_OPT_FLAG, NULL,
      "finish what a killed publish began: RUN, its destination, or the only one there is",
      AT(resume), NULL, NULL, false },
    { "abort", 0, PROP_OPT_FLAG, NULL, "take back what a killed publish did", AT(abort), NULL, NULL,
      false },
    { "forget", 0, PROP_OPT_FLAG, NULL, "drop the record of a killed publish, and take nothing back",
      AT(forget), NULL, NULL, false },
    { "list", 0, PROP_OPT_FLAG, NULL, "list publishes that were begun and are not over", AT(list),
      NULL, NULL, false },
    PROP_KBS_OPTIONS(struct publish_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct publish_opts, kbs),
    PROP_KBS_TEE_OPTION(struct publish_opts, kbs),
    PROP_OCI_OPTIONS(struct publish_opts, oci),
    PROP_OPT_END
};

/* Words a guest's command needs to reach the same servers as this one did. */
struct words {
    const char *items[64];
    size_t n;
};

static void add_words(struct words *w, const char *flag, const char *value)
{
    size_t more = value != NULL ? 2 : 1;
    if (w->n + more > PROP_ARRAY_LEN(w->items))
        return;
    w->items[w->n++] = flag;
    if (value != NULL)
        w->items[w->n++] = value;
}

static void run_words(const struct publish_opts *o, struct words *w)
{
    if (o->kbs.ca_cert != NULL)
        add_words(w, "--ca-cert", o->kbs.ca_cert);
    if (o->kbs.insecure_http)
        add_words(w, "--insecure-http", NULL);
    for (size_t i = 0; i < o->oci.insecure_registry.n; i++)
        add_words(w, "--insecure-registry", o->oci.insecure_registry.items[i]);
}

/* Evidence is used only when it was named: nothing here falls back to sample. */
static int choose_tee(const struct publish_opts *o, enum prop_tee *ret, struct prop_err *err)
{
    *ret = PROP_TEE_NONE;
    if (o->kbs.tee == NULL || strcmp(o->kbs.tee, "auto") == 0)
        return 0;
    return prop_kbs_opts_tee(&o->kbs, ret, err);
}

static void fill(struct prop_cli *cli, const struct publish_opts *o, const struct words *w,
                 struct prop_publish *p)
{
    p->kid = o->kid;
    p->kek_file = o->kek;
    p->replace_key = o->replace_key;
    p->allow = o->allow.items;
    p->n_allow = o->allow.n;
    p->measured = o->measured.items;
    p->n_measured = o->measured.n;
    p->allow_any_guest = o->allow_any_guest;
    p->this_is_a_test = o->this_is_a_test;
    p->policy_doc = o->policy_doc;
    p->replace_policy = o->replace_policy;
    p->recipients = o->recipients.items;
    p->n_recipients = o->recipients.n;
    p->title = o->title;
    p->dry_run = o->dry_run;
    p->run_options = w->items;
    p->n_run_options = w->n;
    p->step = o->dry_run ? NULL : proppush_tell_step;
    p->warn = proppush_tell_warning;
    p->ctx = cli;
}

/* What a finished publish hands on to the next step of a job. */
static int give(struct prop_cli *cli, const json_t *doc, bool dry_run, struct prop_err *err)
{
    static const char *const outputs[] = { "reference", "digest", "pinned", "kid", "layer", "run" };
    if (!dry_run)
        proppush_actions_outputs(cli, "proppush publish", doc, outputs, PROP_ARRAY_LEN(outputs));
    return prop_cli_result(cli, doc, proppush_print_published, err);
}

enum what { WHAT_PUBLISH, WHAT_ABORT, WHAT_FORGET };

static int carry_out(struct prop_cli *cli, struct publish_opts *o, struct prop_publish *p,
                     enum what what, struct prop_err *err)
{
    struct prop_oci_options oci;
    struct words words = { .n = 0 };
    prop_auto_kbs struct prop_kbs *kbs = NULL;
    prop_auto_json json_t *doc = NULL;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    run_words(o, &words);
    fill(cli, o, &words, p);
    p->oci = &oci;
    int rc = choose_tee(o, &p->tee, err);
    if (rc == 0 && what != WHAT_FORGET)
        rc = prop_kbs_opts_open(&o->kbs, &kbs, err);
    if (rc != 0)
        return rc;
    p->kbs = kbs;
    if (what == WHAT_ABORT || what == WHAT_FORGET) {
        rc = what == WHAT_ABORT ? prop_publish_abort(p, &doc, err)
                                : prop_publish_forget(p, &doc, err);
        return rc == 0 ? prop_cli_result(cli, doc, proppush_print_taken_back, err) : rc;
    }
    rc = prop_publish_run(p, &doc, err);
    return rc == 0 ? give(cli, doc, o->dry_run, err) : rc;
}

static int with_places(struct prop_cli *cli, struct publish_opts *o, const char *src_text,
                       const char *dst_text, int64_t run, const json_t *kept, enum what what,
                       struct prop_err *err)
{
    struct prop_location src = { .path = NULL }, dst = { .path = NULL };
    struct prop_publish p = { .src = &src, .dst = &dst, .run = run, .options = kept };
    int rc = prop_location_parse(src_text, &src, err);
    if (rc == 0)
        rc = prop_location_parse(dst_text, &dst, err);
    if (rc == 0)
        rc = carry_out(cli, o, &p, what, err);
    prop_location_release(&src);
    prop_location_release(&dst);
    return rc;
}

/* --- a new one --------------------------------------------------------------------------------- */

static int begin(struct prop_cli *cli, struct publish_opts *o, struct prop_err *err)
{
    static const char *const not_kept[] = { "dry-run", "resume", "abort", "forget", "list", NULL };
    char cwd[PATH_MAX];
    prop_auto_json json_t *kept = NULL;
    if (prop_cli_argc(cli) != 2)
        return prop_err_set(err, PROP_E_USAGE, "publish takes SRC and DST");
    int rc = proppush_opts_keep(options, o, not_kept, &kept, err);
    prop_auto_json json_t *all =
        rc != 0 ? NULL
                : json_pack("{s:s*,s:s,s:s,s:O}", "cwd", getcwd(cwd, sizeof cwd), "src",
                            prop_cli_arg(cli, 0), "dst", prop_cli_arg(cli, 1), "options", kept);
    if (rc == 0 && all == NULL)
        rc = prop_err_set_id(err, PROP_E_USAGE, "not-text", "an argument is not UTF-8 text");
    return rc == 0 ? with_places(cli, o, prop_cli_arg(cli, 0), prop_cli_arg(cli, 1), 0, all,
                                 WHAT_PUBLISH, err)
                   : rc;
}

/* --- one that was begun ------------------------------------------------------------------------- */

/* How servers are reached may differ from one process to the next; what is published may not. */
static const char *const own[] = { "admin-key",   "admin-token",      "ca-cert", "client-cert",
                                   "client-key",  "issuer",           "audience", "role",
                                   "lifetime",    "tee",              "authfile", "cert-dir",
                                   "registry-ca", "registry-timeout", "kek",      "policy-doc",
                                   "parallel",    "timeout",          "resume",   "abort",
                                   "forget",      NULL };

/* What the environment says is for new runs: it is not looked at. */
static int refuse_others(struct prop_cli *cli, struct prop_err *err)
{
    for (const struct prop_opt *o = options; o->name != NULL; o++) {
        bool fine = o->env != NULL;
        for (size_t i = 0; own[i] != NULL; i++)
            fine = fine || strcmp(own[i], o->name) == 0;
        if (!fine && prop_cli_given(cli, o->name)) {
            (void)prop_err_set_id(err, PROP_E_USAGE, "resume-option",
                                  "--%s was settled when the run began", o->name);
            return prop_err_hint(err, "only how servers are reached can be said anew");
        }
    }
    return 0;
}

/* Files named now are looked for here; those of the run where it was begun. */
struct paths {
    char *made[10];
    size_t n;
};

static int make_absolute(const char **path, struct paths *p, struct prop_err *err)
{
    char cwd[PATH_MAX];
    if (*path == NULL || (*path)[0] == '/' || p->n == PROP_ARRAY_LEN(p->made))
        return 0;
    if (getcwd(cwd, sizeof cwd) == NULL)
        return prop_err_sys(err, PROP_E_IO, "the working folder");
    char *full = prop_path_join(cwd, *path);
    if (full == NULL)
        return prop_err_nomem(err);
    p->made[p->n++] = full;
    *path = full;
    return 0;
}

static int keep_given_paths(struct publish_opts *o, struct paths *p, struct prop_err *err)
{
    const char **all[] = { &o->kbs.admin_key,   &o->kbs.admin_token, &o->kbs.ca_cert,
                           &o->kbs.client_cert, &o->kbs.client_key,  &o->oci.authfile,
                           &o->oci.cert_dir,    &o->oci.registry_ca, &o->kek,
                           &o->policy_doc };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(all); i++)
        rc = make_absolute(all[i], p, err);
    return rc;
}

static int restore(struct prop_cli *cli, struct publish_opts *o, const json_t *kept,
                   struct prop_err *err)
{
    const json_t *named = json_object_get(kept, "options");
    const char *cwd = json_string_value(json_object_get(kept, "cwd"));
    bool admin_given = prop_cli_given(cli, "admin-key") || prop_cli_given(cli, "admin-token");
    const char *key = o->kbs.admin_key, *token = o->kbs.admin_token;
    int rc = proppush_opts_restore(cli, options, named, own, o, err);
    if (rc != 0)
        return rc;
    if (admin_given) {
        o->kbs.admin_key = key;
        o->kbs.admin_token = token;
    }
    if (cwd != NULL && chdir(cwd) != 0)
        return prop_err_sys(err, PROP_E_NOTFOUND, "the folder '%s' in which the run began", cwd);
    return 0;
}

static int go_on(struct prop_cli *cli, struct publish_opts *o, struct prop_err *err)
{
    enum what what = o->abort ? WHAT_ABORT : o->forget ? WHAT_FORGET : WHAT_PUBLISH;
    struct paths paths = { .n = 0 };
    prop_auto_json json_t *run = NULL;
    if (prop_cli_argc(cli) > 1)
        return prop_err_set(err, PROP_E_USAGE, "name one run, by its number or destination");
    int rc = refuse_others(cli, err);
    if (rc == 0)
        rc = prop_publish_find_run(NULL, prop_cli_arg(cli, 0), &run, err);
    const json_t *kept = json_object_get(json_object_get(run, "plan"), "options");
    const char *src = json_string_value(json_object_get(kept, "src"));
    const char *dst = json_string_value(json_object_get(kept, "dst"));
    if (rc == 0 && (src == NULL || dst == NULL))
        rc = prop_err_set_id(err, PROP_E_INPUT, "journal-damaged",
                             "the journal's plan of this run is damaged");
    if (rc == 0)
        rc = keep_given_paths(o, &paths, err);
    if (rc == 0)
        rc = restore(cli, o, kept, err);
    if (rc == 0)
        rc = with_places(cli, o, src, dst,
                         (int64_t)json_integer_value(json_object_get(run, "run")), kept, what, err);
    for (size_t i = 0; i < paths.n; i++)
        prop_free(paths.made[i]);
    return rc;
}

static int list(struct prop_cli *cli, struct prop_err *err)
{
    prop_auto_json json_t *runs = NULL;
    int rc = prop_publish_runs(NULL, &runs, err);
    prop_auto_json json_t *doc = rc == 0 ? json_pack("{s:O}", "runs", runs) : NULL;
    if (rc == 0 && doc == NULL)
        rc = prop_err_nomem(err);
    return rc == 0 ? prop_cli_result(cli, doc, proppush_print_runs, err) : rc;
}

static int run_publish(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct publish_opts *o = opts;
    int modes = (int)o->resume + (int)o->abort + (int)o->forget + (int)o->list;
    int rc = modes > 1 ? prop_err_set(err, PROP_E_USAGE,
                                      "--resume, --abort, --forget and --list exclude each other")
             : o->list   ? list(cli, err)
             : modes > 0 ? go_on(cli, o, err)
                         : begin(cli, o, err);
    if (rc != 0)
        proppush_actions_error("proppush publish", err);
    return rc;
}

static const char details[] =
    "SRC is a Wasm file, '-', an image, or an index, all of whose images get the one key; DST is\n"
    "docker://HOST/NAME:TAG, oci:FOLDER:TAG or dir:FOLDER. A key is made and kept on this machine,\n"
    "the module is encrypted while it is sent, the rule of --allow goes to the KBS before the key\n"
    "does, all of it is read back, and the tag is moved last. Whatever fails, the tag stays where\n"
    "it was, and what was done is taken back.\n"
    "\n"
    "Each step is in a journal on this machine. After a kill, --resume finishes the run and\n"
    "--abort takes it back; both take its number or destination (--list shows them), or\n"
    "nothing when there is only one.\n"
    "\n"
    "Publishers of one machine wait for each other, five minutes for rule and key and fifteen for\n"
    "one destination, and fail then; PROP_LOCK_TIMEOUT=SECONDS is another time.\n"
    "\n"
    "A KBS has one policy for everybody, and does not tell which: --policy-doc names the\n"
    "document it is built from (kept in git), to which the rule is added.\n"
    "\n"
    "  proppush publish addition.wasm registry.example.com/team/addition:encrypted \\\n"
    "      --kid kbs:///default/key/addition --kbs https://kbs.example.com \\\n"
    "      --admin-key admin.key --policy-doc policy.toml --allow tee=snp,tier=affirming\n";

const struct prop_verb proppush_verb_publish = {
    "publish", "SRC DST | --resume|--abort|--forget [RUN] | --list",
    "encrypt, push and make runnable, all of it or nothing", details, options,
    sizeof(struct publish_opts), 0, 2, run_publish
};
