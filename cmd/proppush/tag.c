/* proppush tag REF TAG: another name for an image that is there, in the same repository or layout.
 */
#include "cmd/proppush/transfer.h"
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/limits.h"
#include "util/mem.h"

struct tag_opts {
    struct prop_oci_opts oci;
    const char *digest;
    bool dry_run;
};

static const struct prop_opt options[] = {
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of REF must be",
      offsetof(struct tag_opts, digest), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "say what would be done, change nothing",
      offsetof(struct tag_opts, dry_run), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct tag_opts, oci),
    PROP_OPT_END
};

static int retag(struct prop_src *src, const char *source, const struct prop_location *to,
                 const struct tag_opts *o, const struct prop_oci_options *oci, json_t **ret,
                 struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    auto_proppush_ends struct proppush_ends ends = PROPPUSH_ENDS_INIT;
    auto_proppush_moved struct proppush_moved moved = { .images = NULL };
    int rc = proppush_moved_init(&moved, err);

    if (rc == 0)
        rc = prop_src_manifest(src, &bytes, &type, &moved.digest, err);
    if (rc == 0)
        rc = proppush_ends_open(&ends, to->text, oci, o->dry_run, err);
    if (rc == 0 && !o->dry_run)
        rc = prop_dst_manifest(ends.dst, bytes.data, bytes.len, type, &moved.digest, err);
    if (rc == 0 && !o->dry_run)
        rc = prop_dst_tag(ends.dst, err);
    return rc == 0 ? proppush_describe(&ends, source, &moved, ret, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct tag_opts *o = opts;
    struct prop_location to = { .text = NULL };
    struct prop_oci_options oci;
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = proppush_rename(prop_cli_arg(cli, 0), prop_cli_arg(cli, 1), &to, err);
    if (rc == 0)
        rc = proppush_open_src(prop_cli_arg(cli, 0), o->digest, &oci, &src, err);
    if (rc == 0)
        rc = retag(src, prop_cli_arg(cli, 0), &to, o, &oci, &doc, err);
    prop_location_release(&to);
    return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
}

const struct prop_verb proppush_verb_tag = {
    "tag", "REF TAG", "give an image another tag",
    "The manifest is put under the new tag byte for byte; nothing is uploaded again.\n\n"
    "  proppush tag docker://127.0.0.1:5000/team/app:v1 stable",
    options, sizeof(struct tag_opts), 2, 2, run
};
