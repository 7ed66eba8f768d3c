/* proppush pull SRC DST: an image into a layout, its plain module into a file, or its files into a
 * folder. A file appears only when every byte was checked; ciphertext is never written as if it
 * were a module. */
#include "cmd/proppush/pull_files.h"
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct pull_opts {
    struct prop_oci_opts oci;
    const char *digest;
    struct prop_strs platforms;
    bool force, encrypted, dry_run;
};

#define AT(member) offsetof(struct pull_opts, member)

static const struct prop_opt options[] = {
    { "platform", 0, PROP_OPT_LIST, "OS/ARCH[/VARIANT]",
      "of an index: this image (to a layout: repeatable; default: all of them)", AT(platforms),
      NULL, NULL, false },
    { "encrypted", 0, PROP_OPT_FLAG, NULL, "write encrypted layers too, as they are", AT(encrypted),
      NULL, NULL, false },
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of SRC must be", AT(digest), NULL,
      NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace existing files", AT(force), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "check SRC, say what would be written, write nothing",
      AT(dry_run), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct pull_opts, oci),
    PROP_OPT_END
};

static void print_pulled(const json_t *doc, void *stream)
{
    const char *verb = json_is_true(json_object_get(doc, "dry_run")) ? "would write " : "";
    json_t *files = json_object_get(doc, "files"), *row;
    size_t i;
    char shown[400];

    json_array_foreach(files, i, row) {
        const char *file = json_string_value(json_object_get(row, "file"));

        (void)fprintf(stream, "%s%s %s\n", verb,
                      prop_printable(file, strlen(file), shown, sizeof(shown)),
                      json_string_value(json_object_get(row, "layer")));
    }
    if (files == NULL)
        (void)fprintf(stream, "%s%s %s\n", verb, json_string_value(json_object_get(doc, "file")),
                      json_string_value(json_object_get(doc, "layer")));
}

/* A name without a transport is a file to be made; "out/app" is not taken for a repository. */
static bool names_file(const char *text)
{
    struct prop_location loc;
    bool file;

    if (prop_location_parse(text, &loc, NULL) < 0)
        return strchr(text, ':') == NULL;
    file = loc.transport == PROP_T_FILE;
    prop_location_release(&loc);
    return file;
}

static bool names_folder(const char *text)
{
    static const char *const transports[] = { "docker://", "oci:", "oci-archive:", "dir:" };
    struct stat st;

    for (size_t i = 0; i < PROP_ARRAY_LEN(transports); i++)
        if (prop_starts_with(text, transports[i]))
            return false;
    return prop_ends_with(text, "/") || (stat(text, &st) == 0 && S_ISDIR(st.st_mode));
}

static int pull_image(const struct pull_opts *o, const char *src, const char *dst,
                      const struct prop_oci_options *oci, json_t **ret, struct prop_err *err)
{
    const struct proppush_copy c = { .src = src, .dst = dst, .digest = o->digest,
                                     .platforms = o->platforms.items,
                                     .n_platforms = o->platforms.n, .dry_run = o->dry_run };

    if (o->encrypted)
        return prop_err_set(err, PROP_E_USAGE,
                            "--encrypted is for files: '%s' takes every layer as it is", dst);
    return proppush_copy_image(&c, oci, ret, err);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct pull_opts *o = opts;
    const char *src = prop_cli_arg(cli, 0), *dst = prop_cli_arg(cli, 1);
    struct proppush_pull p = { .src = src, .dst = dst, .digest = o->digest, .force = o->force,
                               .encrypted = o->encrypted, .dry_run = o->dry_run };
    struct prop_oci_options oci;
    prop_auto_json json_t *doc = NULL;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    if (!names_file(dst) && !names_folder(dst)) {
        rc = pull_image(o, src, dst, &oci, &doc, err);
        return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
    }
    if (o->platforms.n > 1)
        return prop_err_set(err, PROP_E_USAGE, "--platform is given more than once: '%s' takes one",
                            dst);
    p.platform = o->platforms.n == 1 ? o->platforms.items[0] : NULL;
    rc = names_folder(dst) ? proppush_pull_folder(&p, &oci, &doc, err)
                           : proppush_pull_module(&p, &oci, &doc, err);
    if (rc < 0 || (strcmp(dst, "-") == 0 && !o->dry_run))
        return rc; /* stdout is the module's */
    return prop_cli_result(cli, doc, print_pulled, err);
}

const struct prop_verb proppush_verb_pull = {
    "pull",
    "SRC DST",
    "pull an image into a layout, its module into a file, its files into a folder",
    "With a file as DST the one plain Wasm layer is written there, after its digest held; '-' is\n"
    "stdout. With a folder (it exists, or ends in '/') every layer with a title becomes a file.\n"
    "With oci:, oci-archive: or dir: the whole image or index is copied. Encrypted layers are for\n"
    "propenc decrypt and propcvm run.\n\n"
    "  proppush pull docker://127.0.0.1:5000/team/addition:v1 addition.wasm\n"
    "  proppush pull docker://127.0.0.1:5000/team/files:v1 folder/",
    options,
    sizeof(struct pull_opts),
    2,
    2,
    run
};
