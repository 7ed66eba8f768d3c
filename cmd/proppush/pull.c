/* proppush pull SRC DST: an image into a layout, or its plain module into a file. A file appears
 * only when every byte was checked; an encrypted module is never written as if it were one. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "oci/image_manifest.h"
#include "ocicrypt/image.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct pull_opts {
    struct prop_oci_opts oci;
    const char *digest;
    bool force;
};

static const struct prop_opt options[] = {
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of SRC must be",
      offsetof(struct pull_opts, digest), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace an existing file",
      offsetof(struct pull_opts, force), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct pull_opts, oci),
    PROP_OPT_END
};

struct writing {
    struct prop_file_out out;
    uint64_t size;
    uint8_t head[4];
};

static int write_module(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct writing *w = ctx;
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len && w->size + i < sizeof(w->head); i++)
        w->head[w->size + i] = bytes[i];
    w->size += len;
    return prop_file_out_write(&w->out, data, len, err);
}

static int fetch_module(struct prop_src *src, const struct prop_descriptor *layer,
                        const char *file, bool force, struct prop_err *err)
{
    struct writing w = { PROP_FILE_OUT_INIT, 0, { 0 } };
    int rc = prop_file_out_open(&w.out, file, 0644, force, err);

    if (rc == 0)
        rc = prop_src_blob(src, layer, write_module, &w, err);
    if (rc == 0 && (w.size < 4 || memcmp(w.head, "\0asm", 4) != 0))
        rc = prop_err_set_id(err, PROP_E_INPUT, "not-wasm", "the layer is no WebAssembly module");
    if (rc == 0)
        rc = prop_file_out_commit(&w.out, err);
    prop_file_out_release(&w.out);
    return rc;
}

static int describe(const char *src, const char *file, const struct prop_digest *digest,
                    const struct prop_descriptor *layer, json_t **ret, struct prop_err *err)
{
    char manifest[PROP_DIGEST_TEXT], module[PROP_DIGEST_TEXT];

    *ret = json_pack("{s:s, s:s, s:s, s:s, s:I}", "source", src, "file", file, "digest",
                     prop_digest_format(digest, manifest), "layer",
                     prop_digest_format(&layer->digest, module), "size",
                     (json_int_t)layer->size);
    return *ret == NULL ? prop_err_nomem(err) : 0;
}

static int pull_module(const char *text, const char *file, const struct pull_opts *o,
                       const struct prop_oci_options *oci, json_t **ret, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_manifest struct prop_manifest m = { 0 };
    const struct prop_descriptor *layer = NULL;
    struct prop_digest digest;
    int rc = proppush_open_src(text, o->digest, oci, &src, err);

    if (rc == 0)
        rc = prop_image_manifest(src, "the manifest", &m, NULL, &digest, err);
    if (rc == 0)
        rc = prop_manifest_wasm_layer(&m, &layer, err);
    if (rc < 0)
        return rc;
    if (prop_ends_with(layer->media_type, PROP_MT_ENCRYPTED)) {
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "encrypted-layer",
                        "the module of '%s' is encrypted and cannot be written as a module", text);
        return prop_err_hint(err, "propenc decrypt --key KEY %s %s, or pull to oci:FOLDER", text,
                             file);
    }
    rc = fetch_module(src, layer, file, o->force, err);
    if (rc < 0)
        return prop_err_wrap(err, "pull '%s'", text);
    return describe(text, file, &digest, layer, ret, err);
}

static void print_pulled(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s %s\n", json_string_value(json_object_get(doc, "file")),
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

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct pull_opts *o = opts;
    const char *src = prop_cli_arg(cli, 0), *dst = prop_cli_arg(cli, 1);
    struct proppush_copy c = { src, dst, o->digest, NULL };
    struct prop_oci_options oci;
    prop_auto_json json_t *doc = NULL;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    if (!names_file(dst)) {
        rc = proppush_copy_image(&c, &oci, &doc, err);
        return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
    }
    rc = pull_module(src, dst, o, &oci, &doc, err);
    if (rc < 0 || strcmp(dst, "-") == 0)
        return rc; /* stdout is the module's */
    return prop_cli_result(cli, doc, print_pulled, err);
}

const struct prop_verb proppush_verb_pull = {
    "pull", "SRC DST", "pull an image into a layout, or its module into a file",
    "With a file as DST the one plain Wasm layer is written there, after its digest held;\n"
    "'-' is stdout. With oci:, oci-archive: or dir: the whole image is copied.\n\n"
    "  proppush pull docker://127.0.0.1:5000/team/addition:v1 addition.wasm",
    options, sizeof(struct pull_opts), 2, 2, run
};
