/* propenc inspect SRC: who an image is encrypted for and what stays readable, without any key. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "oci/image_manifest.h"
#include "ocicrypt/recipient.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct inspect_opts {
    struct prop_oci_opts oci;
};

static const struct prop_opt options[] = {
    PROP_OCI_OPTIONS(struct inspect_opts, oci),
    PROP_OPT_END
};

int propenc_describe_layers(const struct prop_manifest *m, json_t **ret, size_t *ret_encrypted,
                            struct prop_err *err)
{
    prop_auto_json json_t *all = json_array();
    size_t n = 0;
    if (!all)
        return prop_err_nomem(err);
    for (size_t i = 0; i < m->n_layers; i++) {
        json_t *one = NULL;
        int rc = prop_layer_describe(&m->layers[i], &one, err);
        if (rc != 0)
            return prop_err_wrap(err, "layer %zu", i + 1);
        n += json_is_true(json_object_get(one, "encrypted"));
        if (json_array_append_new(all, one) != 0)
            return prop_err_nomem(err);
    }
    *ret_encrypted = n;
    *ret = PROP_TAKE(all);
    return 0;
}

static int keep(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

/* What a config says about modules it should keep to itself. A config that cannot be read leaks
 * nothing we could name. */
static json_t *config_leaks(struct prop_src *src, const struct prop_descriptor *config)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    prop_auto_json json_t *doc = NULL;
    json_t *leaks = json_array();
    if (prop_src_blob(src, config, keep, &bytes, NULL) != 0 ||
        prop_json_parse((const char *)bytes.data, bytes.len, "config", &doc, NULL) != 0)
        return leaks;
    const json_t *component = json_object_get(doc, "component");
    if (json_array_size(json_object_get(json_object_get(doc, "rootfs"), "diff_ids")) > 0)
        (void)json_array_append_new(leaks, json_string("diff_ids: digests of the plain layers"));
    if (json_array_size(json_object_get(doc, "layerDigests")) > 0)
        (void)json_array_append_new(leaks,
                                    json_string("layerDigests: digests of the plain layers"));
    if (json_array_size(json_object_get(component, "exports")) > 0 ||
        json_array_size(json_object_get(component, "imports")) > 0)
        (void)json_array_append_new(leaks, json_string("component: its imports and exports"));
    return leaks;
}

static int inspect_image(struct prop_src *src, json_t *doc, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    json_t *layers = NULL;
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    size_t encrypted = 0;
    int rc;
    if ((rc = prop_image_manifest(src, "the image's manifest", &m, NULL, &digest, err)) != 0 ||
        (rc = propenc_describe_layers(&m, &layers, &encrypted, err)) != 0)
        return rc;
    const json_t *annotations = json_object_get(m.json, "annotations");
    if (json_object_set_new(doc, "layers", layers) != 0 ||
        json_object_set_new(doc, "digest", json_string(prop_digest_format(&digest, text))) != 0 ||
        json_object_set_new(doc, "encrypted", json_boolean(encrypted > 0)) != 0 ||
        json_object_set_new(doc, "encrypted_layers", json_integer((json_int_t)encrypted)) != 0 ||
        json_object_set_new(doc, "config",
                            json_pack("{s:s,s:I,s:o}", "media_type", m.config.media_type, "size",
                                      (json_int_t)m.config.size, "clear",
                                      config_leaks(src, &m.config))) != 0 ||
        json_object_set_new(doc, "annotations",
                            annotations ? json_deep_copy(annotations) : json_object()) != 0)
        return prop_err_nomem(err);
    return 0;
}

/* Text of the image on a terminal: made printable first. */
static void put(FILE *out, const char *before, const char *text)
{
    char safe[512];
    if (text)
        (void)fprintf(out, "%s%s", before, prop_printable(text, strlen(text), safe, sizeof(safe)));
}

static void print_recipients(const json_t *scheme, FILE *out)
{
    static const char *const shown[] = { "alg", "enc", "epk_crv", "wrap_type", "kid" };
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(scheme, "recipients"), i, r) {
        put(out, "    ", json_string_value(json_object_get(scheme, "scheme")));
        for (size_t k = 0; k < PROP_ARRAY_LEN(shown); k++)
            put(out, "  ", json_string_value(json_object_get(r, shown[k])));
        (void)fprintf(out, "\n");
    }
}

static void print_layer(size_t number, const json_t *layer, FILE *out)
{
    size_t i;
    json_t *v;
    const char *key;
    (void)fprintf(out, "layer %zu: %s, %lld bytes", number,
                  json_is_true(json_object_get(layer, "encrypted")) ? "encrypted" : "PLAIN",
                  (long long)json_integer_value(json_object_get(layer, "size")));
    put(out, ", ", json_string_value(json_object_get(layer, "media_type")));
    (void)fprintf(out, "\n");
    json_array_foreach(json_object_get(layer, "schemes"), i, v)
        print_recipients(v, out);
    json_object_foreach(json_object_get(layer, "clear_annotations"), key, v) {
        put(out, "    in clear: ", key);
        put(out, " = ", json_string_value(v));
        (void)fprintf(out, "\n");
    }
}

static void print_human(const json_t *doc, void *stream)
{
    FILE *out = stream;
    size_t i;
    json_t *v;
    const char *key;
    const char *digest = json_string_value(json_object_get(doc, "digest"));
    put(out, "", json_string_value(json_object_get(doc, "image")));
    (void)fprintf(out, "  %s\n", digest ? digest : "bare module, not encrypted");
    json_array_foreach(json_object_get(doc, "layers"), i, v)
        print_layer(i + 1, v, out);
    json_array_foreach(json_object_get(json_object_get(doc, "config"), "clear"), i, v)
        (void)fprintf(out, "config in clear: %s\n", json_string_value(v));
    json_object_foreach(json_object_get(doc, "annotations"), key, v) {
        put(out, "in clear: ", key);
        put(out, " = ", json_string_value(v));
        (void)fprintf(out, "\n");
    }
}

static void warn_all(struct prop_cli *cli, const json_t *doc)
{
    size_t i, k;
    json_t *layer, *text;
    json_array_foreach(json_object_get(doc, "layers"), i, layer)
        json_array_foreach(json_object_get(layer, "warnings"), k, text)
            prop_cli_warn(cli, "layer %zu: %s", i + 1, json_string_value(text));
}

static int run_inspect(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct inspect_opts *o = opts;
    struct prop_oci_options oci;
    struct prop_location loc = { .path = NULL };
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    if ((rc = prop_location_parse(prop_cli_arg(cli, 0), &loc, err)) != 0 ||
        (rc = prop_src_open(&loc, &oci, &src, err)) != 0)
        goto out;
    doc = json_pack("{s:s,s:b,s:[]}", "image", loc.text, "encrypted", 0, "layers");
    if (!doc)
        rc = prop_err_nomem(err);
    else if (prop_src_is_bare(src))
        prop_cli_warn(cli, "'%s' is a bare module: it is not encrypted", loc.text);
    else
        rc = inspect_image(src, doc, err);
    if (rc != 0)
        goto out;
    warn_all(cli, doc);
    rc = prop_cli_result(cli, doc, print_human, err);
out:
    prop_location_release(&loc);
    return rc;
}

static const char details[] =
    "No key is needed. Per layer: the key schemes, recipients (algorithm, key id), and\n"
    "what stays readable to everybody: annotations, sizes, what the config tells.\n"
    "\n"
    "  propenc inspect docker://registry.example.com/team/addition:encrypted";

const struct prop_verb propenc_verb_inspect = {
    "inspect", "SRC", "show who an image is encrypted for", details, options,
    sizeof(struct inspect_opts), 1, 1, run_inspect
};
