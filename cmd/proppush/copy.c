/* proppush copy SRC DST: an image or an index from any place to any other, byte for byte. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/mem.h"

struct copy_opts {
    struct prop_oci_opts oci;
    const char *digest;
    struct prop_strs platforms;
    bool all, referrers, dry_run;
};

static const struct prop_opt options[] = {
    { "platform", 0, PROP_OPT_LIST, "OS/ARCH[/VARIANT]",
      "of an index: only these images (repeatable; default: all of them)",
      offsetof(struct copy_opts, platforms), NULL, NULL, false },
    { "all", 'a', PROP_OPT_FLAG, NULL, "all images of an index, which is the default",
      offsetof(struct copy_opts, all), NULL, NULL, true },
    { "referrers", 0, PROP_OPT_FLAG, NULL, "copy what refers to the image, too (registries)",
      offsetof(struct copy_opts, referrers), NULL, NULL, false },
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of SRC must be",
      offsetof(struct copy_opts, digest), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL,
      "check both ends, say what would be done, change nothing",
      offsetof(struct copy_opts, dry_run), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct copy_opts, oci),
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct copy_opts *o = opts;
    const struct proppush_copy c = { .src = prop_cli_arg(cli, 0), .dst = prop_cli_arg(cli, 1),
                                     .digest = o->digest, .platforms = o->platforms.items,
                                     .n_platforms = o->platforms.n, .dry_run = o->dry_run, .referrers = o->referrers };
    struct prop_oci_options oci;
    prop_auto_json json_t *doc = NULL;
    int rc;

    if (o->all && o->platforms.n > 0)
        return prop_err_set(err, PROP_E_USAGE, "--all and --platform exclude each other");
    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = proppush_copy_image(&c, &oci, &doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
}

const struct prop_verb proppush_verb_copy = {
    "copy",
    "SRC DST",
    "copy an image or an index between registries, layouts and archives",
    "Manifests and blobs keep every byte, encrypted or not; all digests are checked on the way. "
    "An\n"
    "index is copied with all its images. With --platform only those come along: one of them is\n"
    "written as the image it is, several in an index without the others, which has another "
    "digest;\n"
    "what was left out is said.\n\n"
    "  proppush copy docker://registry.example.com/team/app:v1 oci:layout:v1\n"
    "  proppush copy oci:layout:v1 registry.example.com/team/app:v1,stable\n"
    "  proppush copy --platform linux/arm64 registry.example.com/team/app:v1 "
    "oci-archive:app.tar:v1",
    options,
    sizeof(struct copy_opts),
    2,
    2,
    run
};
