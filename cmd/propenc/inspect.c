/* propenc inspect SRC: who an image is encrypted for and what stays readable, without any key. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "cmd/propenc/inspect_config.h"
#include "cmd/propenc/inspect_print.h"
#include "oci/image_manifest.h"
#include "ocicrypt/image_walk.h"
#include "ocicrypt/recipient.h"
#include "util/limits.h"
#include "util/mem.h"

#include <string.h>

#define IMAGES_MAX 256 /* of one index */

struct inspect_opts {
    struct prop_oci_opts oci;
    bool require_encrypted;
};

static const struct prop_opt options[] = {
    { "require-encrypted", 0, PROP_OPT_FLAG, NULL, "exit with 1 when anything is not encrypted",
      offsetof(struct inspect_opts, require_encrypted), NULL, NULL, false },
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
        n += propenc_layer_is_sealed(one);
        if (json_array_append_new(all, one) != 0)
            return prop_err_nomem(err);
    }
    *ret_encrypted = n;
    *ret = PROP_TAKE(all);
    return 0;
}

static int set(json_t *doc, const char *name, json_t *value, struct prop_err *err)
{
    return json_object_set_new(doc, name, value) == 0 ? 0 : prop_err_nomem(err);
}

/* One image into an object: digest, layers, config, annotations, warnings. */
static int describe_manifest(struct prop_src *src, const struct prop_manifest *m,
                             const struct prop_digest *digest, json_t *doc, struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    json_t *layers = NULL, *warnings = json_array();
    size_t encrypted = 0;
    json_t *annotations = json_object_get(m->json, "annotations");
    int rc = set(doc, "warnings", warnings, err);
    if (rc == 0)
        rc = propenc_describe_layers(m, &layers, &encrypted, err);
    if (rc != 0)
        return rc;
    if (encrypted > 0 && encrypted < m->n_layers)
        (void)json_array_append_new(warnings, json_sprintf("only %zu of %zu layers are encrypted",
                                                           encrypted, m->n_layers));
    if (encrypted == 0)
        (void)json_array_append_new(warnings, json_string("nothing is encrypted"));
    if ((rc = set(doc, "layers", layers, err)) != 0 ||
        (rc = set(doc, "digest", json_string(prop_digest_format(digest, text)), err)) != 0 ||
        (rc = set(doc, "encrypted", json_boolean(encrypted > 0), err)) != 0 ||
        (rc = set(doc, "encrypted_layers", json_integer((json_int_t)encrypted), err)) != 0 ||
        (rc = set(doc, "plain_layers", json_integer((json_int_t)(m->n_layers - encrypted)),
                  err)) != 0 ||
        (rc = set(doc, "config", propenc_describe_config(src, &m->config), err)) != 0)
        return rc;
    return set(doc, "annotations", annotations ? json_deep_copy(annotations) : json_object(), err);
}

/* --- indexes --- */

/* Copies often leave out the images of other machines: said, and never taken for encrypted. */
static int describe_missing(const struct prop_descriptor *d, json_t *one, json_t *images,
                            struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    int rc;
    if ((rc = set(one, "digest", json_string(prop_digest_format(&d->digest, text)), err)) != 0 ||
        (rc = set(one, "missing", json_true(), err)) != 0 ||
        (rc = set(one, "encrypted", json_false(), err)) != 0 ||
        (rc = set(one, "warnings", json_pack("[s]", "the image is not there"), err)) != 0)
        return rc;
    return json_array_append(images, one) == 0 ? 0 : prop_err_nomem(err);
}

static int describe_entry(struct prop_src *src, json_t *entry, json_t *images,
                          struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_free char *type = NULL;
    struct prop_descriptor d;
    char platform[128];
    prop_auto_json json_t *one =
        json_pack("{s:s}", "platform", prop_walk_platform(entry, platform));
    int rc;
    if (!one)
        return prop_err_nomem(err);
    if ((rc = prop_descriptor_read(entry, "an entry of the index", &d, err)) != 0)
        return rc;
    struct prop_err gone = PROP_ERR_INIT;
    rc = prop_src_child(src, &d, &bytes, &type, &gone);
    if (rc == PROP_E_NOTFOUND)
        return describe_missing(&d, one, images, err);
    if (rc != 0 && err)
        *err = gone;
    if (rc != 0 ||
        (rc = prop_manifest_parse(bytes.data, bytes.len, type, "an image of the index", &m,
                                  err)) != 0 ||
        (rc = describe_manifest(src, &m, &d.digest, one, err)) != 0)
        return prop_err_wrap(err, "image '%s'", platform);
    return json_array_append(images, one) == 0 ? 0 : prop_err_nomem(err);
}

/* The sums of all images. */
static int sum_up(json_t *doc, const json_t *images, const struct prop_digest *digest,
                  struct prop_err *err)
{
    char text[PROP_DIGEST_TEXT];
    json_int_t encrypted = 0, plain = 0;
    size_t i;
    json_t *one;
    int rc;
    json_array_foreach((json_t *)(uintptr_t)images, i, one) {
        encrypted += json_integer_value(json_object_get(one, "encrypted_layers"));
        plain += json_integer_value(json_object_get(one, "plain_layers"));
    }
    if ((rc = set(doc, "digest", json_string(prop_digest_format(digest, text)), err)) != 0 ||
        (rc = set(doc, "encrypted", json_boolean(encrypted > 0), err)) != 0 ||
        (rc = set(doc, "encrypted_layers", json_integer(encrypted), err)) != 0)
        return rc;
    return set(doc, "plain_layers", json_integer(plain), err);
}

static int describe_index(struct prop_src *src, const struct prop_buf *bytes,
                          const struct prop_digest *digest, json_t *doc, struct prop_err *err)
{
    prop_auto_json json_t *index = NULL;
    json_t *images = json_array(), *entry;
    size_t i;
    int rc = set(doc, "images", images, err);
    if (rc == 0)
        rc = prop_json_parse((const char *)bytes->data, bytes->len, "the image index", &index, err);
    if (rc != 0)
        return rc;
    json_t *list = json_object_get(index, "manifests");
    if (!json_is_array(list))
        return prop_err_set(err, PROP_E_INPUT, "the image index has no 'manifests'");
    if (json_array_size(list) > IMAGES_MAX)
        return prop_err_set(err, PROP_E_LIMIT, "index of %zu images, at most %d are read",
                            json_array_size(list), IMAGES_MAX);
    json_array_foreach(list, i, entry)
        if ((rc = describe_entry(src, entry, images, err)) != 0)
            return rc;
    (void)json_object_del(doc, "layers");
    json_t *annotations = json_object_get(index, "annotations");
    if ((rc = set(doc, "annotations",
                  annotations ? json_deep_copy(annotations) : json_object(), err)) != 0)
        return rc;
    return sum_up(doc, images, digest, err);
}

/* --- the verb --- */

static int inspect_image(struct prop_src *src, json_t *doc, struct prop_err *err)
{
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_free char *said = NULL;
    prop_auto_free char *type = NULL;
    struct prop_digest digest;
    int rc;
    if ((rc = prop_src_manifest(src, &bytes, &said, &digest, err)) != 0 ||
        (rc = prop_manifest_type(bytes.data, bytes.len, said, "the image's manifest", &type,
                                 err)) != 0)
        return rc;
    if (strcmp(type, PROP_MT_OCI_INDEX) == 0 || strcmp(type, PROP_MT_DOCKER_LIST) == 0)
        return describe_index(src, &bytes, &digest, doc, err);
    rc = prop_manifest_parse(bytes.data, bytes.len, said, "the image's manifest", &m, err);
    return rc != 0 ? rc : describe_manifest(src, &m, &digest, doc, err);
}

/* The warnings of one image: its own, then each layer's. */
static void warn_image(struct prop_cli *cli, const json_t *image, const char *where)
{
    size_t i, k;
    json_t *layer, *text;
    json_array_foreach(json_object_get(image, "warnings"), i, text)
        prop_cli_warn(cli, "%s%s", where, json_string_value(text));
    json_array_foreach(json_object_get(image, "layers"), i, layer)
        json_array_foreach(json_object_get(layer, "warnings"), k, text)
            prop_cli_warn(cli, "%slayer %zu: %s", where, i + 1, json_string_value(text));
}

static void warn_all(struct prop_cli *cli, const json_t *doc)
{
    size_t i;
    json_t *image;
    warn_image(cli, doc, "");
    json_array_foreach(json_object_get(doc, "images"), i, image) {
        const char *name = json_string_value(json_object_get(image, "platform"));
        prop_auto_free char *where = name && *name ? prop_asprintf("%s: ", name)
                                                   : prop_asprintf("image %zu: ", i + 1);
        warn_image(cli, image, where ? where : "");
    }
}

/* Every layer of every image, and at least one in each. */
static bool all_encrypted(const json_t *doc)
{
    size_t i;
    json_t *image;
    const json_t *images = json_object_get(doc, "images");
    bool index = json_array_size(images) > 0;
    json_array_foreach((json_t *)(uintptr_t)images, i, image)
        if (!json_is_true(json_object_get(image, "encrypted")))
            return false;
    return (index || json_is_true(json_object_get(doc, "encrypted"))) &&
           json_integer_value(json_object_get(doc, "plain_layers")) == 0;
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
    rc = prop_cli_result(cli, doc, propenc_print_inspected, err);
    if (rc == 0 && o->require_encrypted && !all_encrypted(doc))
        prop_cli_set_status(cli, 1);
out:
    prop_location_release(&loc);
    return rc;
}

static const char details[] =
    "No key is needed. Per layer, and of an index per platform: the key schemes, the\n"
    "recipients (algorithm, key id, issuer and serial number), and what stays readable\n"
    "to everybody: annotations, titles, sizes, what the config tells.\n"
    "\n"
    "  propenc inspect docker://registry.example.com/team/addition:encrypted\n"
    "  propenc inspect --require-encrypted --quiet oci:image:v1 || echo 'not all of it'";

const struct prop_verb propenc_verb_inspect = {
    "inspect", "SRC", "show who an image is encrypted for", details, options,
    sizeof(struct inspect_opts), 1, 1, run_inspect
};
