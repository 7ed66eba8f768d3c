/* proppush verify REF: a release gate. Is every layer that has to be encrypted really encrypted, is
 * its key in the KBS, does it open, does the policy let in the recorded guests and refuse others? */
#include "publish/verify.h"

#include "cmd/cli/cli.h"
#include "cmd/cli/kbs_opts.h"
#include "cmd/cli/oci_opts.h"
#include "cmd/proppush/actions.h"
#include "cmd/proppush/verbs.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct verify_opts {
    struct prop_kbs_opts kbs;
    struct prop_oci_opts oci;
    const char *digest, *policy;
    struct prop_strs keks, keys, layers, tokens, denied;
    bool sample_is_fine, strict;
};

#define AT(member) offsetof(struct verify_opts, member)

static const struct prop_opt options[] = {
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of REF must be", AT(digest), NULL,
      NULL, false },
    { "layer", 0, PROP_OPT_LIST, "N|TYPE",
      "a layer that has to be encrypted, by number or media type (repeatable; default: every one)",
      AT(layers), NULL, NULL, false },
    { "kek", 0, PROP_OPT_LIST, "FILE",
      "a key encryption key to open it with (default: the one kept on this machine)", AT(keks), NULL,
      NULL, false },
    { "key", 0, PROP_OPT_LIST, "KEY", "another key that opens it: a private key file (repeatable)",
      AT(keys), NULL, NULL, false },
    { "policy", 0, PROP_OPT_STRING, "FILE",
      "the policy of the KBS, Rego or a policy document (default: what this machine uploaded last)",
      AT(policy), NULL, NULL, false },
    { "policy-doc", 0, PROP_OPT_STRING, "FILE", "the same", AT(policy), NULL, NULL, true },
    { "token", 0, PROP_OPT_LIST, "FILE",
      "attestation token of a guest that must be let in (repeatable; signatures are not looked at)",
      AT(tokens), NULL, NULL, false },
    { "deny-token", 0, PROP_OPT_LIST, "FILE", "token of a guest that must not be (repeatable)",
      AT(denied), NULL, NULL, false },
    { "i-know-this-is-a-test", 0, PROP_OPT_FLAG, NULL, "the policy may let sample evidence in",
      AT(sample_is_fine), NULL, NULL, false },
    { "strict", 0, PROP_OPT_FLAG, NULL, "an answer that is not known counts as no", AT(strict), NULL,
      NULL, false },
    PROP_KBS_OPTIONS(struct verify_opts, kbs),
    PROP_KBS_TEE_OPTION(struct verify_opts, kbs),
    PROP_OCI_OPTIONS(struct verify_opts, oci),
    PROP_OPT_END
};

static void tell(void *ctx, const char *check, const char *answer, const char *text)
{
    if (strcmp(answer, "yes") != 0)
        proppush_actions_warning("proppush verify", text);
    if (!prop_cli_json(ctx))
        prop_cli_note(ctx, "%-9s %-7s %s", check, answer, text);
}

static void print_human(const json_t *doc, void *stream)
{
    const char *pinned = json_string_value(json_object_get(doc, "pinned"));
    (void)fprintf(stream, "%s is fit\n",
                  pinned != NULL ? pinned
                                 : json_string_value(json_object_get(doc, "reference")));
}

/* Evidence is used only when it was named: nothing here falls back to sample. */
static int choose_tee(const struct verify_opts *o, enum prop_tee *ret, struct prop_err *err)
{
    *ret = PROP_TEE_NONE;
    if (o->kbs.tee == NULL || strcmp(o->kbs.tee, "auto") == 0)
        return 0;
    return prop_kbs_opts_tee(&o->kbs, ret, err);
}

static int verify(struct prop_cli *cli, struct verify_opts *o, const struct prop_location *ref,
                  struct prop_err *err)
{
    struct prop_oci_options oci;
    struct prop_digest digest;
    prop_auto_kbs struct prop_kbs *kbs = NULL;
    prop_auto_json json_t *doc = NULL;
    struct prop_verify v = { .ref = ref, .oci = &oci, .keks = o->keks.items, .n_keks = o->keks.n,
                             .keys = o->keys.items, .n_keys = o->keys.n,
                             .layers = o->layers.items, .n_layers = o->layers.n,
                             .policy = o->policy, .tokens = o->tokens.items,
                             .n_tokens = o->tokens.n, .denied = o->denied.items,
                             .n_denied = o->denied.n, .sample_is_fine = o->sample_is_fine,
                             .strict = o->strict, .tell = tell, .ctx = cli };
    prop_oci_opts_fill(cli, &o->oci, &oci);
    int rc = choose_tee(o, &v.tee, err);
    if (rc == 0 && o->digest != NULL) {
        rc = prop_digest_parse(o->digest, &digest, err);
        v.digest = &digest;
    }
    if (rc == 0 && o->kbs.kbs != NULL)
        rc = prop_kbs_opts_open(&o->kbs, &kbs, err);
    if (rc != 0)
        return rc;
    v.kbs = kbs;
    rc = prop_verify_run(&v, &doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, print_human, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct prop_location ref = { .path = NULL };
    int rc = prop_location_parse(prop_cli_arg(cli, 0), &ref, err);
    if (rc == 0)
        rc = verify(cli, opts, &ref, err);
    prop_location_release(&ref);
    if (rc != 0)
        proppush_actions_error("proppush verify", err);
    return rc;
}

static const char details[] =
    "Nothing is changed. Each answer is told; the exit code tells the first that is not yes:\n"
    "0 fit for release, 1 no (a plain layer, a policy that lets in too many or too few), 4 damaged\n"
    "or another key, 5 not allowed to look, 6 a server cannot be reached, 8 image or key missing.\n"
    "What cannot be known from here (a KBS shows keys to guests only) is told as unknown. Of an\n"
    "index every image is looked at, and of the indexes within it.\n"
    "\n"
    "  proppush verify registry.example.com/team/addition:1 --kbs https://kbs.example.com \\\n"
    "      --policy policy.toml --token production-guest.jwt --deny-token laptop.jwt\n";

const struct prop_verb proppush_verb_verify = {
    "verify", "REF", "is a published image fit for release?", details, options,
    sizeof(struct verify_opts), 1, 1, run
};
