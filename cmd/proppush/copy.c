/* proppush copy SRC DST: an image from any place to any other, byte for byte. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/mem.h"

struct copy_opts {
    struct prop_oci_opts oci;
    const char *digest;
};

static const struct prop_opt options[] = {
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of SRC must be",
      offsetof(struct copy_opts, digest), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct copy_opts, oci),
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct copy_opts *o = opts;
    struct proppush_copy c = { prop_cli_arg(cli, 0), prop_cli_arg(cli, 1), o->digest, NULL };
    struct prop_oci_options oci;
    prop_auto_json json_t *doc = NULL;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = proppush_copy_image(&c, &oci, &doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
}

const struct prop_verb proppush_verb_copy = {
    "copy", "SRC DST", "copy an image between registries, layouts and archives",
    "Manifest and blobs keep every byte, encrypted or not; all digests are checked on the way.\n\n"
    "  proppush copy docker://registry.example.com/team/app:v1 oci:layout:v1\n"
    "  proppush copy oci:layout:v1 oci-archive:app.tar:v1",
    options, sizeof(struct copy_opts), 2, 2, run
};
