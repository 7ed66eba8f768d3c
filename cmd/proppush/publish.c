/* proppush publish SRC DST: key, encryption, upload, policy, key to the KBS, proof, name: one
 * transaction (publish/publish.h). Steps are told on stderr as they end; the result, with the run
 * command that pins what was published, is on stdout. */
#include "publish/publish.h"

#include "cmd/cli/cli.h"
#include "cmd/cli/kbs_opts.h"
#include "cmd/cli/oci_opts.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct publish_opts {
    struct prop_kbs_opts kbs;
    struct prop_oci_opts oci;
    const char *kid, *kek;
    bool replace_key;
    struct prop_strs allow;
    bool allow_any_guest, this_is_a_test;
    const char *policy_doc;
    bool replace_policy;
    struct prop_strs recipients;
    const char *title;
    bool dry_run;
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
    PROP_KBS_OPTIONS(struct publish_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct publish_opts, kbs),
    PROP_KBS_TEE_OPTION(struct publish_opts, kbs),
    PROP_OCI_OPTIONS(struct publish_opts, oci),
    PROP_OPT_END
};

static void tell_step(void *ctx, const char *text)
{
    prop_cli_note(ctx, "%s", text);
}

static void tell_warning(void *ctx, const char *text)
{
    prop_cli_warn(ctx, "%s", text);
}

static void line(FILE *out, const json_t *doc, const char *key, const char *label)
{
    const char *text = json_string_value(json_object_get(doc, key));
    if (text != NULL)
        (void)fprintf(out, "%-9s %s\n", label, text);
}

static void print_human(const json_t *doc, void *stream)
{
    FILE *out = stream;
    size_t i;
    json_t *step;
    line(out, doc, "reference", "image");
    line(out, doc, "digest", "digest");
    line(out, doc, "kid", "key");
    line(out, doc, "kek_file", "kek file");
    if (json_is_true(json_object_get(doc, "insecure")))
        (void)fprintf(out, "%-9s %s\n", "insecure", "sample evidence may have the key");
    if (json_is_true(json_object_get(doc, "unchanged")))
        (void)fprintf(out, "%-9s %s\n", "unchanged", "the same module is published already");
    if (json_is_true(json_object_get(doc, "dry_run")))
        json_array_foreach (json_object_get(doc, "steps"), i, step)
            line(out, step, "text", i == 0 ? "would" : "");
    line(out, doc, "run", "run");
}

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
    p->step = o->dry_run ? NULL : tell_step;
    p->warn = tell_warning;
    p->ctx = cli;
}

static int run_publish(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct publish_opts *o = opts;
    struct prop_oci_options oci;
    struct prop_location src = { .path = NULL }, dst = { .path = NULL };
    struct prop_kbs *kbs = NULL;
    struct words words = { .n = 0 };
    struct prop_publish p = { .src = &src, .dst = &dst, .oci = &oci };
    json_t *doc = NULL;
    int rc;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    run_words(o, &words);
    fill(cli, o, &words, &p);
    if ((rc = prop_location_parse(prop_cli_arg(cli, 0), &src, err)) != 0 ||
        (rc = prop_location_parse(prop_cli_arg(cli, 1), &dst, err)) != 0 ||
        (rc = choose_tee(o, &p.tee, err)) != 0 ||
        (rc = prop_kbs_opts_open(&o->kbs, &kbs, err)) != 0)
        goto out;
    p.kbs = kbs;
    rc = prop_publish_run(&p, &doc, err);
    if (rc == 0)
        rc = prop_cli_result(cli, doc, print_human, err);
out:
    json_decref(doc);
    prop_kbs_free(kbs);
    prop_location_release(&src);
    prop_location_release(&dst);
    return rc;
}

static const char details[] =
    "SRC is a Wasm file, '-', or an image; DST is docker://HOST/NAME:TAG, oci:FOLDER:TAG or\n"
    "dir:FOLDER. A key is made and kept on this machine, the module is encrypted while it is\n"
    "sent, the rule of --allow goes to the KBS before the key does, all of it is read back,\n"
    "and the tag is moved last. Whatever fails, the tag stays where it was.\n"
    "\n"
    "A KBS has one policy for everybody, and does not tell which: --policy-doc names the\n"
    "document it is built from (kept in git), to which the rule is added.\n"
    "\n"
    "  proppush publish addition.wasm registry.example.com/team/addition:encrypted \\\n"
    "      --kid kbs:///default/key/addition --kbs https://kbs.example.com \\\n"
    "      --admin-key admin.key --policy-doc policy.toml --allow tee=snp,tier=affirming\n";

const struct prop_verb proppush_verb_publish = {
    "publish", "SRC DST", "encrypt, push and make runnable, all of it or nothing", details, options,
    sizeof(struct publish_opts), 2, 2, run_publish
};
