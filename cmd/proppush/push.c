/* proppush push SRC DST: a bare module as a wasm-to-oci artifact, or an image as it is. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/mem.h"

struct push_opts {
    struct prop_oci_opts oci;
    const char *title, *digest;
};

static const struct prop_opt options[] = {
    { "title", 0, PROP_OPT_STRING, "NAME", "title of a bare module's layer (default: file name)",
      offsetof(struct push_opts, title), NULL, NULL, false },
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of SRC must be",
      offsetof(struct push_opts, digest), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct push_opts, oci),
    PROP_OPT_END
};

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct push_opts *o = opts;
    struct proppush_copy c = { prop_cli_arg(cli, 0), prop_cli_arg(cli, 1), o->digest, o->title };
    struct prop_oci_options oci;
    prop_auto_json json_t *doc = NULL;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = proppush_copy_image(&c, &oci, &doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
}

const struct prop_verb proppush_verb_push = {
    "push", "SRC DST", "push a module or an image",
    "SRC is a .wasm file, '-' for stdin, or an image: oci:FOLDER[:TAG], oci-archive:FILE[:TAG],\n"
    "dir:FOLDER, docker://HOST/NAME:TAG. A bare module becomes an artifact that wasm-to-oci and\n"
    "its readers know; an image is pushed byte for byte. The tag moves last, after everything\n"
    "else is there.\n\n"
    "  proppush push addition.wasm 127.0.0.1:5000/team/addition:v1\n"
    "  proppush push oci:layout:v1 docker://registry.example.com/team/app:v1",
    options, sizeof(struct push_opts), 2, 2, run
};
