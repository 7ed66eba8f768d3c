/* proppush tag REF TAG: another name for an image that is there, in the same repository or layout. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct tag_opts {
    struct prop_oci_opts oci;
    const char *digest;
};

static const struct prop_opt options[] = {
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of REF must be",
      offsetof(struct tag_opts, digest), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct tag_opts, oci),
    PROP_OPT_END
};

/* The location of the same place under the new name. */
static int rename_location(const char *text, const char *tag, struct prop_location *ret,
                           struct prop_err *err)
{
    struct prop_location loc;
    prop_auto_free char *renamed = NULL;
    int rc = prop_location_parse(text, &loc, err);

    if (rc < 0)
        return rc;
    if (loc.transport == PROP_T_DOCKER)
        renamed = prop_asprintf("docker://%s/%s:%s", loc.ref.domain, loc.ref.path, tag);
    else if (loc.transport == PROP_T_OCI)
        renamed = prop_asprintf("oci:%s:%s", loc.path, tag);
    else
        rc = prop_err_set(err, PROP_E_USAGE, "'%s' has no tags", text);
    prop_location_release(&loc);
    if (rc < 0)
        return rc;
    return renamed == NULL ? prop_err_nomem(err) : prop_location_parse(renamed, ret, err);
}

static int retag(struct prop_src *src, const struct prop_location *to,
                 const struct prop_oci_options *oci, struct prop_digest *ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    prop_auto_dst struct prop_dst *dst = NULL;
    int rc = prop_src_manifest(src, &bytes, &type, ret, err);

    if (rc == 0)
        rc = prop_dst_open(to, oci, &dst, err);
    if (rc == 0)
        rc = prop_dst_manifest(dst, bytes.data, bytes.len, type, ret, err);
    return rc == 0 ? prop_dst_tag(dst, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct tag_opts *o = opts;
    struct prop_location to = { .text = NULL };
    struct prop_oci_options oci;
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = rename_location(prop_cli_arg(cli, 0), prop_cli_arg(cli, 1), &to, err);
    if (rc == 0)
        rc = proppush_open_src(prop_cli_arg(cli, 0), o->digest, &oci, &src, err);
    if (rc == 0)
        rc = retag(src, &to, &oci, &digest, err);
    if (rc == 0) {
        doc = json_pack("{s:s, s:s, s:s}", "source", prop_cli_arg(cli, 0), "reference", to.text,
                        "digest", prop_digest_format(&digest, text));
        rc = doc == NULL ? prop_err_nomem(err) : 0;
    }
    prop_location_release(&to);
    return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
}

const struct prop_verb proppush_verb_tag = {
    "tag", "REF TAG", "give an image another tag",
    "The manifest is put under the new tag byte for byte; nothing is uploaded again.\n\n"
    "  proppush tag docker://127.0.0.1:5000/team/app:v1 stable",
    options, sizeof(struct tag_opts), 2, 2, run
};
