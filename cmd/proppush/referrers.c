/* proppush referrers REF: which artifacts name an image as their subject. */
#include "oci/referrers.h"

#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct referrers_opts {
    struct prop_oci_opts oci;
    const char *artifact_type;
};

static const struct prop_opt options[] = {
    { "artifact-type", 0, PROP_OPT_STRING, "TYPE", "only artifacts of this type",
      offsetof(struct referrers_opts, artifact_type), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct referrers_opts, oci),
    PROP_OPT_END
};

/* A digest is taken as it is: what it names need not exist (registry.md 2.6). */
static int subject_of(const char *text, const struct prop_location *loc,
                      const struct prop_oci_options *oci, struct prop_digest *ret,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_src struct prop_src *src = NULL;
    int rc;

    if (loc->transport == PROP_T_DOCKER && loc->ref.digest.len > 0) {
        *ret = loc->ref.digest;
        return 0;
    }
    rc = proppush_open_src(text, NULL, oci, &src, err);
    return rc == 0 ? prop_src_manifest(src, &bytes, NULL, ret, err) : rc;
}

static int find(const char *text, const struct prop_location *loc, const char *type,
                const struct prop_oci_options *oci, json_t **ret, struct prop_err *err)
{
    static const char *const ways[] = { [PROP_REFERRERS_API] = "api",
                                        [PROP_REFERRERS_TAGGED] = "tag",
                                        [PROP_REFERRERS_LAYOUT] = "layout" };
    enum prop_referrers_way way = PROP_REFERRERS_LAYOUT;
    prop_auto_json json_t *all = NULL;
    struct prop_digest subject;
    char digest[PROP_DIGEST_TEXT];
    int rc;

    if (loc->transport != PROP_T_DOCKER && loc->transport != PROP_T_OCI)
        return prop_err_set(err, PROP_E_USAGE,
                            "'%s' holds one image: referrers are in registries and layouts", text);
    rc = subject_of(text, loc, oci, &subject, err);
    if (rc == 0)
        rc = loc->transport == PROP_T_DOCKER
                 ? prop_referrers_list(&loc->ref, oci, &subject, type, &all, &way, err)
                 : prop_layout_referrers(loc->path, &subject, type, &all, err);
    if (rc < 0)
        return rc;
    *ret = json_pack("{s:s, s:s, s:s, s:O}", "reference", text, "subject",
                     prop_digest_format(&subject, digest), "told_by", ways[way], "referrers", all);
    return *ret == NULL ? prop_err_nomem(err) : 0;
}

static const char *text_of(const json_t *object, const char *key, char *out, size_t size)
{
    const char *v = json_string_value(json_object_get(object, key));

    return v != NULL ? prop_printable(v, strlen(v), out, size) : "";
}

static void print_referrers(const json_t *doc, void *stream)
{
    json_t *entry;
    size_t i;
    char digest[200], type[200], created[80];

    json_array_foreach(json_object_get(doc, "referrers"), i, entry)(void)
        fprintf(stream, "%s  %8lld  %s  %s\n", text_of(entry, "digest", digest, sizeof(digest)),
                (long long)json_integer_value(json_object_get(entry, "size")),
                text_of(entry, "artifactType", type, sizeof(type)),
                text_of(json_object_get(entry, "annotations"), "org.opencontainers.image.created",
                        created, sizeof(created)));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct referrers_opts *o = opts;
    struct prop_location loc = { .text = NULL };
    struct prop_oci_options oci;
    prop_auto_json json_t *doc = NULL;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = prop_location_parse(prop_cli_arg(cli, 0), &loc, err);
    if (rc < 0)
        return rc;
    rc = find(prop_cli_arg(cli, 0), &loc, o->artifact_type, &oci, &doc, err);
    prop_location_release(&loc);
    return rc == 0 ? prop_cli_result(cli, doc, print_referrers, err) : rc;
}

const struct prop_verb proppush_verb_referrers = {
    "referrers",
    "REF",
    "list the artifacts that refer to an image",
    "What was pushed with --subject: signatures, bills of materials, anything. The registry is\n"
    "asked, or the tag sha256-HEX that clients keep where it cannot tell; in a layout the "
    "manifests\n"
    "are read.\n\n"
    "  proppush referrers registry.example.com/team/app:v1\n"
    "  proppush referrers --artifact-type application/spdx+json registry.example.com/team/app:v1",
    options,
    sizeof(struct referrers_opts),
    1,
    1,
    run
};
