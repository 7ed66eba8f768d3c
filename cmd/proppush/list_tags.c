/* proppush list-tags REF: the tags of a repository, or the names in a layout. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "oci/layout.h"
#include "oci/registry.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct list_opts {
    struct prop_oci_opts oci;
};

static const struct prop_opt options[] = {
    PROP_OCI_OPTIONS(struct list_opts, oci),
    PROP_OPT_END
};

static int list(const struct prop_location *loc, const struct prop_oci_options *oci, json_t **ret,
                struct prop_err *err)
{
    if (loc->transport == PROP_T_DOCKER)
        return prop_registry_tags(&loc->ref, oci, ret, err);
    if (loc->transport == PROP_T_OCI)
        return prop_layout_names(loc->path, ret, err);
    return prop_err_set(err, PROP_E_USAGE, "'%s' has no tags", loc->text);
}

static void print_tags(const json_t *doc, void *stream)
{
    const json_t *tags = json_object_get(doc, "tags");
    char shown[400];
    size_t i;
    json_t *tag;

    json_array_foreach((json_t *)(uintptr_t)tags, i, tag)
        (void)fprintf(stream, "%s\n",
                      prop_printable(json_string_value(tag), json_string_length(tag), shown,
                                     sizeof(shown)));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct list_opts *o = opts;
    struct prop_location loc = { .text = NULL };
    struct prop_oci_options oci;
    prop_auto_json json_t *tags = NULL;
    prop_auto_json json_t *doc = NULL;
    prop_auto_free char *name = NULL;
    int rc = prop_location_parse(prop_cli_arg(cli, 0), &loc, err);

    if (rc < 0)
        return rc;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = list(&loc, &oci, &tags, err);
    if (rc == 0) {
        name = loc.transport == PROP_T_DOCKER
                   ? prop_asprintf("%s/%s", loc.ref.domain, loc.ref.path)
                   : prop_strdup(loc.path);
        doc = name != NULL ? json_pack("{s:s, s:O}", "repository", name, "tags", tags) : NULL;
        rc = doc == NULL ? prop_err_nomem(err) : 0;
    }
    prop_location_release(&loc);
    return rc == 0 ? prop_cli_result(cli, doc, print_tags, err) : rc;
}

const struct prop_verb proppush_verb_list_tags = {
    "list-tags", "REF", "list the tags of a repository or the names in a layout",
    "  proppush list-tags docker://127.0.0.1:5000/team/app\n"
    "  proppush list-tags oci:layout",
    options, sizeof(struct list_opts), 1, 1, run
};
