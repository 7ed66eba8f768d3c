/* proppush inspect REF: what an image or artifact is made of, without an image config being needed. */
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct inspect_opts {
    struct prop_oci_opts oci;
    const char *digest;
    bool raw, config;
};

static const struct prop_opt options[] = {
    { "raw", 0, PROP_OPT_FLAG, NULL, "the manifest's own bytes",
      offsetof(struct inspect_opts, raw), NULL, NULL, false },
    { "config", 0, PROP_OPT_FLAG, NULL, "the config blob's own bytes",
      offsetof(struct inspect_opts, config), NULL, NULL, false },
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest must be",
      offsetof(struct inspect_opts, digest), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct inspect_opts, oci),
    PROP_OPT_END
};

static bool is_index(const char *type)
{
    return strcmp(type, PROP_MT_OCI_INDEX) == 0 || strcmp(type, PROP_MT_DOCKER_LIST) == 0;
}

/* {"mediaType","digest","size","encrypted","annotations"?,"platform"?} of one descriptor. */
static json_t *describe_entry(json_t *entry)
{
    const char *type = json_string_value(json_object_get(entry, "mediaType"));
    static const char *const kept[] = { "mediaType", "digest", "size", "platform", "annotations" };
    json_t *out = json_object();

    for (size_t i = 0; i < PROP_ARRAY_LEN(kept); i++) {
        json_t *v = json_object_get(entry, kept[i]);

        if (v != NULL)
            (void)json_object_set(out, kept[i], v);
    }
    (void)json_object_set_new(out, "encrypted",
                              json_boolean(type != NULL && prop_ends_with(type, PROP_MT_ENCRYPTED)));
    return out;
}

static json_t *describe_list(json_t *list)
{
    json_t *out = json_array();
    size_t i;
    json_t *entry;

    json_array_foreach(list, i, entry)
        (void)json_array_append_new(out, describe_entry(entry));
    return out;
}

static int describe(const char *name, const struct prop_buf *bytes, const char *type,
                    const struct prop_digest *digest, json_t **ret, struct prop_err *err)
{
    prop_auto_json json_t *manifest = NULL;
    prop_auto_manifest struct prop_manifest checked = { 0 };
    char text[PROP_DIGEST_TEXT];
    json_t *doc;
    const char *member = is_index(type) ? "manifests" : "layers";
    int rc = prop_json_parse(prop_buf_str(bytes), bytes->len, "the manifest", &manifest, err);

    if (rc == 0 && !is_index(type))
        rc = prop_manifest_parse(bytes->data, bytes->len, type, "the manifest", &checked, err);
    if (rc < 0)
        return rc;
    doc = json_pack("{s:s, s:s, s:I, s:s}", "reference", name, "digest",
                    prop_digest_format(digest, text), "size", (json_int_t)bytes->len, "mediaType",
                    type);
    if (doc == NULL)
        return prop_err_nomem(err);
    if (json_object_get(manifest, "artifactType") != NULL)
        (void)json_object_set(doc, "artifactType", json_object_get(manifest, "artifactType"));
    if (json_object_get(manifest, "config") != NULL)
        (void)json_object_set_new(doc, "config",
                                  describe_entry(json_object_get(manifest, "config")));
    (void)json_object_set_new(doc, member, describe_list(json_object_get(manifest, member)));
    if (json_object_get(manifest, "annotations") != NULL)
        (void)json_object_set(doc, "annotations", json_object_get(manifest, "annotations"));
    *ret = doc;
    return 0;
}

static const char *text_of(const json_t *object, const char *key, char *out, size_t size)
{
    const char *v = json_string_value(json_object_get(object, key));

    return v != NULL ? prop_printable(v, strlen(v), out, size) : "";
}

static void print_entry(FILE *out, const char *label, const json_t *entry)
{
    char type[200], digest[200], title[200];

    (void)fprintf(out, "%-10s %s  %12lld  %s", label, text_of(entry, "digest", digest, sizeof(digest)),
                  (long long)json_integer_value(json_object_get(entry, "size")),
                  text_of(entry, "mediaType", type, sizeof(type)));
    if (text_of(json_object_get(entry, "annotations"), PROP_ANNOTATION_TITLE, title,
                sizeof(title))[0] != '\0')
        (void)fprintf(out, "  '%s'", title);
    (void)fputc('\n', out);
}

static void print_image(const json_t *doc, void *stream)
{
    static const char *const lists[] = { "layers", "manifests" };
    FILE *out = stream;
    char shown[400];
    size_t i;
    json_t *entry;

    (void)fprintf(out, "%-10s %s\n", "image", text_of(doc, "reference", shown, sizeof(shown)));
    (void)fprintf(out, "%-10s %s\n", "digest", text_of(doc, "digest", shown, sizeof(shown)));
    (void)fprintf(out, "%-10s %s\n", "type", text_of(doc, "mediaType", shown, sizeof(shown)));
    if (json_object_get(doc, "artifactType") != NULL)
        (void)fprintf(out, "%-10s %s\n", "artifact",
                      text_of(doc, "artifactType", shown, sizeof(shown)));
    if (json_object_get(doc, "config") != NULL)
        print_entry(out, "config", json_object_get(doc, "config"));
    for (size_t l = 0; l < PROP_ARRAY_LEN(lists); l++) {
        json_array_foreach(json_object_get(doc, lists[l]), i, entry)
            print_entry(out, l == 0 ? "layer" : "manifest", entry);
    }
}

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static int write_config(struct prop_cli *cli, struct prop_src *src, const struct prop_buf *bytes,
                        const char *type, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { 0 };
    prop_auto_buf struct prop_buf config = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    int rc = prop_manifest_parse(bytes->data, bytes->len, type, "the manifest", &m, err);

    if (rc == 0)
        rc = prop_src_blob(src, &m.config, collect, &config, err);
    return rc == 0 ? prop_cli_write(cli, config.data, config.len, err) : rc;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct inspect_opts *o = opts;
    struct prop_oci_options oci;
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    prop_auto_json json_t *doc = NULL;
    struct prop_digest digest;
    int rc;

    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = proppush_open_src(prop_cli_arg(cli, 0), o->digest, &oci, &src, err);
    if (rc == 0)
        rc = prop_src_manifest(src, &bytes, &type, &digest, err);
    if (rc < 0)
        return rc;
    if (o->config)
        return write_config(cli, src, &bytes, type, err);
    if (o->raw)
        return prop_cli_write(cli, bytes.data, bytes.len, err);
    rc = describe(prop_cli_arg(cli, 0), &bytes, type, &digest, &doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, print_image, err) : rc;
}

const struct prop_verb proppush_verb_inspect = {
    "inspect", "REF", "show what an image or artifact is made of",
    "Works for Wasm artifacts, encrypted images and indexes alike.\n\n"
    "  proppush inspect docker://127.0.0.1:5000/team/app:v1\n"
    "  proppush inspect --raw oci:layout:v1",
    options, sizeof(struct inspect_opts), 1, 1, run
};
