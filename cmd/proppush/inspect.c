/* proppush inspect REF: what an image or artifact is made of, without an image config being needed.
 */
#include "cmd/proppush/choose.h"
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "oci/index_tree.h"
#include "oci/referrers.h"
#include "ocicrypt/image_walk.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>

struct inspect_opts {
    struct prop_oci_opts oci;
    const char *digest, *platform;
    bool raw, config, referrers;
};

static const struct prop_opt options[] = {
    { "raw", 0, PROP_OPT_FLAG, NULL, "the manifest's own bytes",
      offsetof(struct inspect_opts, raw), NULL, NULL, false },
    { "config", 0, PROP_OPT_FLAG, NULL, "the config blob's own bytes",
      offsetof(struct inspect_opts, config), NULL, NULL, false },
    { "platform", 0, PROP_OPT_STRING, "OS/ARCH[/VARIANT]", "of an index: this image",
      offsetof(struct inspect_opts, platform), NULL, NULL, false },
    { "referrers", 0, PROP_OPT_FLAG, NULL, "list what refers to it, too",
      offsetof(struct inspect_opts, referrers), NULL, NULL, false },
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest must be",
      offsetof(struct inspect_opts, digest), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct inspect_opts, oci),
    PROP_OPT_END
};

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
    (void)json_object_set_new(
        out, "encrypted", json_boolean(type != NULL && prop_ends_with(type, PROP_MT_ENCRYPTED)));
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

static int describe_children(struct prop_src *src, json_t *list, unsigned depth,
                             struct prop_err *err);

/* An index inside an index. */
static int describe_nested(struct prop_src *src, json_t *entry, const struct prop_buf *bytes,
                           unsigned depth, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    json_t *list;
    int rc = prop_json_parse(prop_buf_str(bytes), bytes->len, "an index", &index, err);

    if (rc < 0)
        return rc;
    if (depth + 1 >= PROP_INDEX_DEPTH)
        return prop_err_set_id(err, PROP_E_LIMIT, "nested-index",
                               "indexes stand inside each other more than %d deep",
                               PROP_INDEX_DEPTH);
    list = describe_list(json_object_get(index, "manifests"));
    (void)json_object_del(entry, "encrypted");
    if (json_object_set_new(entry, "manifests", list) < 0)
        return prop_err_nomem(err);
    return describe_children(src, list, depth + 1, err);
}

/* The layers of one image of an index, and whether they are encrypted. Partial copies lack images.
 */
static int describe_child(struct prop_src *src, json_t *entry, unsigned depth,
                          struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { 0 };
    prop_auto_free char *type = NULL;
    struct prop_err failure = PROP_ERR_INIT;
    struct prop_descriptor d;
    json_t *layers, *layer;
    size_t i, encrypted = 0;
    int rc = prop_descriptor_read(entry, "an entry of the index", &d, err);

    if (rc < 0)
        return rc;
    rc = prop_src_child(src, &d, &bytes, &type, &failure);
    if (rc == PROP_E_NOTFOUND)
        return json_object_set_new(entry, "missing", json_true()) < 0 ? prop_err_nomem(err) : 0;
    if (rc == 0 && prop_is_index(type))
        return describe_nested(src, entry, &bytes, depth, err);
    if (rc == 0)
        rc =
            prop_manifest_parse(bytes.data, bytes.len, type, "an image of the index", &m, &failure);
    if (rc < 0) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    layers = describe_list(json_object_get(m.json, "layers"));
    json_array_foreach(layers, i, layer)
        encrypted += json_is_true(json_object_get(layer, "encrypted"));
    (void)json_object_set_new(entry, "encrypted", json_boolean(encrypted > 0));
    return json_object_set_new(entry, "layers", layers) < 0 ? prop_err_nomem(err) : 0;
}

static int describe_children(struct prop_src *src, json_t *list, unsigned depth,
                             struct prop_err *err)
{
    size_t i;
    json_t *entry;

    json_array_foreach(list, i, entry) {
        int rc = describe_child(src, entry, depth, err);

        if (rc < 0)
            return prop_err_wrap(err, "image %zu of %zu", i + 1, json_array_size(list));
    }
    return 0;
}

struct seen {
    struct prop_src *src;
    struct prop_buf bytes;
    char *type;
    struct prop_digest digest;
};

static int describe(const char *name, const struct seen *s, json_t **ret, struct prop_err *err)
{
    static const char *const kept[] = { "artifactType", "subject", "annotations" };
    prop_auto_json json_t *manifest = NULL;
    prop_auto_json json_t *doc = NULL;
    prop_auto_manifest struct prop_manifest checked = { 0 };
    char text[PROP_DIGEST_TEXT];
    bool index = prop_is_index(s->type);
    const char *member = index ? "manifests" : "layers";
    int rc = prop_json_parse(prop_buf_str(&s->bytes), s->bytes.len, "the manifest", &manifest, err);

    if (rc == 0 && !index)
        rc = prop_manifest_parse(s->bytes.data, s->bytes.len, s->type, "the manifest", &checked,
                                 err);
    if (rc < 0)
        return rc;
    doc = json_pack("{s:s, s:s, s:I, s:s}", "reference", name, "digest",
                    prop_digest_format(&s->digest, text), "size", (json_int_t)s->bytes.len,
                    "mediaType", s->type);
    if (doc == NULL)
        return prop_err_nomem(err);
    if (json_object_get(manifest, "config") != NULL)
        (void)json_object_set_new(doc, "config",
                                  describe_entry(json_object_get(manifest, "config")));
    (void)json_object_set_new(doc, member, describe_list(json_object_get(manifest, member)));
    for (size_t i = 0; i < PROP_ARRAY_LEN(kept); i++)
        if (json_object_get(manifest, kept[i]) != NULL)
            (void)json_object_set(doc, kept[i], json_object_get(manifest, kept[i]));
    if (index)
        rc = describe_children(s->src, json_object_get(doc, member), 0, err);
    if (rc == 0)
        *ret = PROP_TAKE(doc);
    return rc;
}

static int add_referrers(const char *text, const struct prop_digest *subject,
                         const struct prop_oci_options *oci, json_t *doc, struct prop_err *err)
{
    struct prop_location loc = { .text = NULL };
    enum prop_referrers_way way;
    json_t *all = NULL;
    int rc = prop_location_parse(text, &loc, err);

    if (rc < 0)
        return rc;
    if (loc.transport == PROP_T_DOCKER)
        rc = prop_referrers_list(&loc.ref, oci, subject, NULL, &all, &way, err);
    else if (loc.transport == PROP_T_OCI)
        rc = prop_layout_referrers(loc.path, subject, NULL, &all, err);
    else
        rc = prop_err_set(err, PROP_E_USAGE, "--referrers: '%s' holds one image", text);
    prop_location_release(&loc);
    if (rc == 0 && json_object_set_new(doc, "referrers", all) < 0)
        rc = prop_err_nomem(err);
    return rc;
}

static const char *text_of(const json_t *object, const char *key, char *out, size_t size)
{
    const char *v = json_string_value(json_object_get(object, key));

    return v != NULL ? prop_printable(v, strlen(v), out, size) : "";
}

static void print_entry(FILE *out, const char *label, const json_t *entry)
{
    char type[200], digest[200], title[200], platform[128], shown[200];

    (void)fprintf(out, "%-10s %s  %12lld  %s", label,
                  text_of(entry, "digest", digest, sizeof(digest)),
                  (long long)json_integer_value(json_object_get(entry, "size")),
                  text_of(entry, "mediaType", type, sizeof(type)));
    if (text_of(json_object_get(entry, "annotations"), PROP_ANNOTATION_TITLE, title,
                sizeof(title))[0] != '\0')
        (void)fprintf(out, "  '%s'", title);
    if (*prop_walk_platform(entry, platform))
        (void)fprintf(out, "  %s",
                      prop_printable(platform, strlen(platform), shown, sizeof(shown)));
    if (json_is_true(json_object_get(entry, "missing")))
        (void)fputs("  (not there)", out);
    if (text_of(entry, "artifactType", type, sizeof(type))[0] != '\0')
        (void)fprintf(out, "  %s", type);
    (void)fputc('\n', out);
}

/* Which layers are encrypted is the one thing nobody should have to read out of a media type. */
static const char *layer_label(const json_t *layer)
{
    return json_is_true(json_object_get(layer, "encrypted")) ? "encrypted" : "layer";
}

/* The layers of an image stand below it, and so do the images of an index inside an index. */
static void print_list(FILE *out, const json_t *list, const char *label, unsigned depth)
{
    char shown[48];
    size_t i;
    json_t *entry;

    json_array_foreach((json_t *)(uintptr_t)list, i, entry) {
        const json_t *inside = json_object_get(entry, "manifests");
        const char *text = label == NULL ? layer_label(entry) : inside != NULL ? "index" : label;

        (void)snprintf(shown, sizeof(shown), "%*s%s", (int)(2 * depth), "", text);
        print_entry(out, shown, entry);
        print_list(out, json_object_get(entry, "layers"), NULL, depth + 1);
        print_list(out, inside, label, depth + 1);
    }
}

static void print_image(const json_t *doc, void *stream)
{
    static const char *const lines[][2] = { { "reference", "image" },
                                            { "digest", "digest" },
                                            { "mediaType", "type" },
                                            { "artifactType", "artifact" } };
    const json_t *subject = json_object_get(doc, "subject");
    FILE *out = stream;
    char shown[400];

    for (size_t i = 0; i < PROP_ARRAY_LEN(lines); i++)
        if (json_object_get(doc, lines[i][0]) != NULL)
            (void)fprintf(out, "%-10s %s\n", lines[i][1],
                          text_of(doc, lines[i][0], shown, sizeof(shown)));
    if (subject != NULL)
        (void)fprintf(out, "%-10s %s\n", "subject",
                      text_of(subject, "digest", shown, sizeof(shown)));
    if (json_object_get(doc, "config") != NULL)
        print_entry(out, "config", json_object_get(doc, "config"));
    print_list(out, json_object_get(doc, "layers"), NULL, 0);
    print_list(out, json_object_get(doc, "manifests"), "manifest", 0);
    print_list(out, json_object_get(doc, "referrers"), "referrer", 0);
}

static int collect(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_buf_add(ctx, data, len, err);
}

static int write_config(struct prop_cli *cli, const struct seen *s, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { 0 };
    prop_auto_buf struct prop_buf config = PROP_BUF_INIT(PROP_LIMIT_CONFIG);
    int rc = prop_manifest_parse(s->bytes.data, s->bytes.len, s->type, "the manifest", &m, err);

    if (rc == 0)
        rc = prop_src_blob(s->src, &m.config, collect, &config, err);
    return rc == 0 ? prop_cli_write(cli, config.data, config.len, err) : rc;
}

/* The whole, or the one image of an index that was asked for (its config needs one). */
static int look(const char *text, const struct inspect_opts *o, const struct prop_oci_options *oci,
                struct seen *s, struct prop_err *err)
{
    int rc = proppush_open_src(text, o->digest, oci, &s->src, err);

    if (rc < 0)
        return rc;
    if (o->platform != NULL || o->config)
        return proppush_one_image(s->src, o->platform, &s->bytes, &s->type, &s->digest, err);
    return prop_src_manifest(s->src, &s->bytes, &s->type, &s->digest, err);
}

static void seen_release(struct seen *s)
{
    prop_src_free(s->src);
    prop_buf_release(&s->bytes);
    prop_free(s->type);
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct inspect_opts *o = opts;
    const char *text = prop_cli_arg(cli, 0);
    struct prop_oci_options oci;
    __attribute__((cleanup(seen_release))) struct seen s = {
        .bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST)
    };
    prop_auto_json json_t *doc = NULL;
    int rc;

    if (o->referrers && (o->raw || o->config))
        return prop_err_set(err, PROP_E_USAGE, "--referrers goes with neither --raw nor --config");
    prop_oci_opts_fill(cli, &o->oci, &oci);
    rc = look(text, o, &oci, &s, err);
    if (rc < 0)
        return rc;
    if (o->config)
        return write_config(cli, &s, err);
    if (o->raw)
        return prop_cli_write(cli, s.bytes.data, s.bytes.len, err);
    rc = describe(text, &s, &doc, err);
    if (rc == 0 && o->referrers)
        rc = add_referrers(text, &s.digest, &oci, doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, print_image, err) : rc;
}

const struct prop_verb proppush_verb_inspect = {
    "inspect",
    "REF",
    "show what an image or artifact is made of",
    "Works for Wasm artifacts, encrypted images and indexes alike; of an index every image and "
    "its\n"
    "layers are listed. --config writes the config's own bytes, --raw the manifest's.\n\n"
    "  proppush inspect docker://127.0.0.1:5000/team/app:v1\n"
    "  proppush inspect --platform linux/arm64 docker://127.0.0.1:5000/team/app:v1\n"
    "  proppush inspect --raw oci:layout:v1",
    options,
    sizeof(struct inspect_opts),
    1,
    1,
    run
};
