/* proppush delete REF: take a published image away, and with --key its key. */
#include "publish/withdraw.h"

#include "cmd/cli/cli.h"
#include "cmd/cli/kbs_opts.h"
#include "cmd/cli/oci_opts.h"
#include "cmd/proppush/verbs.h"

#include <stdio.h>

struct delete_opts {
    struct prop_kbs_opts kbs;
    struct prop_oci_opts oci;
    const char *digest;
    bool key, all_tags, dry_run;
};

static const struct prop_opt options[] = {
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of REF must be",
      offsetof(struct delete_opts, digest), NULL, NULL, false },
    { "key", 0, PROP_OPT_FLAG, NULL,
      "delete its keys from the KBS too, unless another image known here needs them",
      offsetof(struct delete_opts, key), NULL, NULL, false },
    { "all-tags", 0, PROP_OPT_FLAG, NULL, "other tags of the same manifest may go with it",
      offsetof(struct delete_opts, all_tags), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "say what would be deleted, change nothing",
      offsetof(struct delete_opts, dry_run), NULL, NULL, false },
    PROP_KBS_OPTIONS(struct delete_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct delete_opts, kbs),
    PROP_OCI_OPTIONS(struct delete_opts, oci),
    PROP_OPT_END
};

static void print_human(const json_t *doc, void *stream)
{
    const char *lead = json_is_true(json_object_get(doc, "dry_run")) ? "would" : "deleted";
    size_t i;
    json_t *v;
    (void)fprintf(stream, "%-9s %s of %s\n", lead,
                  json_string_value(json_object_get(doc, "deleted")),
                  json_string_value(json_object_get(doc, "reference")));
    json_array_foreach (json_object_get(doc, "tags"), i, v)
        (void)fprintf(stream, "%-9s %s\n", "same", json_string_value(v));
    json_array_foreach (json_object_get(doc, "keys"), i, v)
        if (json_is_true(json_object_get(v, "deleted")))
            (void)fprintf(stream, "%-9s key %s\n", lead,
                          json_string_value(json_object_get(v, "path")));
    json_array_foreach (json_object_get(doc, "left"), i, v)
        (void)fprintf(stream, "%-9s %s\n", "left", json_string_value(v));
}

static void warn(void *ctx, const char *text)
{
    prop_cli_warn(ctx, "%s", text);
}

static int delete_it(struct prop_cli *cli, struct delete_opts *o, const struct prop_location *ref,
                     struct prop_err *err)
{
    struct prop_oci_options oci;
    struct prop_digest digest;
    prop_auto_kbs struct prop_kbs *kbs = NULL;
    prop_auto_json json_t *doc = NULL;
    struct prop_withdraw w = { .ref = ref, .oci = &oci, .all_tags = o->all_tags,
                               .dry_run = o->dry_run, .warn = warn, .ctx = cli };
    prop_oci_opts_fill(cli, &o->oci, &oci);
    int rc = o->digest != NULL ? prop_digest_parse(o->digest, &digest, err) : 0;
    w.digest = o->digest != NULL ? &digest : NULL;
    if (rc == 0 && o->key)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &kbs, err);
    w.kbs = kbs;
    if (rc == 0)
        rc = prop_withdraw_run(&w, &doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, print_human, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct prop_location ref = { .path = NULL };
    int rc = prop_location_parse(prop_cli_arg(cli, 0), &ref, err);
    if (rc == 0)
        rc = delete_it(cli, opts, &ref, err);
    prop_location_release(&ref);
    return rc;
}

static const char details[] =
    "A registry that deletes tags deletes the tag; one that deletes manifests only loses all tags\n"
    "of the manifest, which wants --all-tags when there are others. Of a layout the name goes.\n"
    "What stays (blobs, rules of the policy) is told.\n"
    "\n"
    "  proppush delete registry.example.com/team/addition:old --key --kbs https://kbs.example.com \\\n"
    "      --admin-key admin.key\n";

const struct prop_verb proppush_verb_delete = {
    "delete", "REF", "take a published image away, and its key", details, options,
    sizeof(struct delete_opts), 1, 1, run
};
