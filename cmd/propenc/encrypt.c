/* propenc encrypt SRC DST -r RECIPIENT...: one pass from source to destination; the name comes
 * last, after the manifests were read back and the key packets were opened. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "cmd/propenc/encrypt_sh.h"
#include "cmd/propenc/recipient_opts.h"
#include "ocicrypt/image.h"
#include "util/mem.h"

#include <stdio.h>

struct encrypt_opts {
    struct prop_oci_opts oci;
    struct propenc_recipient_opts who;
    struct propenc_sh_opts sh;
    struct prop_strs layers, encrypt_layers, platforms;
    const char *title, *form;
    bool all, hide, dry_run;
};

static const struct prop_opt options[] = {
    PROPENC_RECIPIENT_OPTIONS(struct encrypt_opts, who),
    { "form", 0, PROP_OPT_STRING, "propeller|cncf|tar",
      "how a bare module is packed; propeller is what its proplet decrypts",
      offsetof(struct encrypt_opts, form), NULL, "propeller", false },
    { "layer", 0, PROP_OPT_LIST, "N|MEDIATYPE|all",
      "of an image only these layers, counted from 0, -1 the last (default: all)",
      offsetof(struct encrypt_opts, layers), NULL, NULL, false },
    { "encrypt-layer", 0, PROP_OPT_LIST, "N", "skopeo's name for --layer",
      offsetof(struct encrypt_opts, encrypt_layers), NULL, NULL, true },
    { "platform", 0, PROP_OPT_LIST, "OS/ARCH[/VARIANT]",
      "of an index only these images (default: all); the others are left out",
      offsetof(struct encrypt_opts, platforms), NULL, NULL, false },
    { "all", 'a', PROP_OPT_FLAG, NULL, "every image of an index, which is the default",
      offsetof(struct encrypt_opts, all), NULL, NULL, true },
    { "private", 0, PROP_OPT_FLAG, NULL,
      "leave out plaintext digests, imports and exports, titles: what confirms a guess",
      offsetof(struct encrypt_opts, hide), NULL, NULL, false },
    { "title", 0, PROP_OPT_STRING, "NAME",
      "title of a bare module's layer (default: its file name; '' for none)",
      offsetof(struct encrypt_opts, title), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "encrypt and hash everything, write nothing",
      offsetof(struct encrypt_opts, dry_run), NULL, NULL, false },
    PROPENC_KEY_OPTIONS(struct encrypt_opts, who),
    { "key-id", 'i', PROP_OPT_STRING, "KID", "as encrypt.sh: the key's id, with -k B64KEY -s -d",
      offsetof(struct encrypt_opts, sh.kid), NULL, NULL, true },
    { "source", 's', PROP_OPT_STRING, "SRC", "as encrypt.sh", offsetof(struct encrypt_opts, sh.src),
      NULL, NULL, true },
    { "destination", 'd', PROP_OPT_STRING, "DST", "as encrypt.sh",
      offsetof(struct encrypt_opts, sh.dst), NULL, NULL, true },
    PROP_OCI_OPTIONS(struct encrypt_opts, oci),
    PROP_OPT_END
};

/* One run: what it works on and what it is told. */
struct run {
    struct prop_cli *cli;
    struct encrypt_opts *o;
    struct prop_oci_options oci;
    struct prop_location src, dst;
    struct prop_openers *openers;
    struct prop_recipients *to;
    struct prop_encrypt_options eo;
    struct prop_encrypt_result r;
    json_t *images, *warnings, *layers;
};

static void release(struct run *x)
{
    prop_recipients_free(x->to);
    prop_openers_free(x->openers);
    propenc_recipient_opts_release(&x->o->who);
    prop_location_release(&x->src);
    prop_location_release(&x->dst);
    json_decref(x->images);
    json_decref(x->warnings);
    json_decref(x->layers);
}
#define auto_run __attribute__((cleanup(release)))

static void print_human(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s  %s\n", json_string_value(json_object_get(doc, "digest")),
                  json_string_value(json_object_get(doc, "destination")));
}

static json_t *result_doc(const struct run *x)
{
    char manifest[PROP_DIGEST_TEXT], layer[PROP_DIGEST_TEXT], plain[PROP_DIGEST_TEXT];
    const struct prop_encrypt_result *r = &x->r;
    json_t *doc =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:b,s:O}", "destination", x->dst.text, "digest",
                  prop_digest_format(&r->manifest, manifest), "size", (json_int_t)r->manifest_size,
                  "bytes", (json_int_t)r->bytes, "layers", (json_int_t)r->layers, "recipients",
                  (json_int_t)prop_recipients_count(x->to), "written",
                  x->dst.transport != PROP_T_SINK, "images", x->images);
    if (doc && r->layers > 0 &&
        (json_object_set_new(doc, "layer", json_string(prop_digest_format(&r->layer, layer))) != 0 ||
         json_object_set_new(doc, "plain", json_string(prop_digest_format(&r->plain, plain))) != 0)) {
        json_decref(doc);
        doc = NULL;
    }
    return doc;
}

/* Which images of an index were taken, by name: the others are not at the destination. */
static void note_images(const struct run *x)
{
    size_t i;
    json_t *image;
    if (x->r.images < 2 && x->eo.n_platforms == 0)
        return;
    json_array_foreach(x->images, i, image) {
        const char *platform = json_string_value(json_object_get(image, "platform"));
        prop_cli_note(x->cli, "image %zu of %zu: %s  %s", i + 1, json_array_size(x->images),
                      json_string_value(json_object_get(image, "digest")),
                      platform ? platform : "no platform");
    }
    if (x->eo.n_platforms > 0)
        prop_cli_note(x->cli, "images of other platforms are left out");
}

static void say_all(const struct run *x)
{
    size_t i, k;
    json_t *layer, *text;
    struct prop_cli *cli = x->cli;
    json_array_foreach(x->warnings, i, text)
        prop_cli_warn(cli, "%s", json_string_value(text));
    if (x->r.left_plain > 0)
        prop_cli_warn(cli, "%zu layer%s not chosen and stay%s readable to everybody",
                      x->r.left_plain, x->r.left_plain > 1 ? "s were" : " was",
                      x->r.left_plain > 1 ? "" : "s");
    if (x->r.converted > 0)
        prop_cli_note(cli, "%zu Docker manifest%s converted to OCI, which encrypted layers need",
                      x->r.converted, x->r.converted > 1 ? "s were" : " was");
    if (x->r.rewrapped > 0)
        prop_cli_note(cli, "%zu layer%s encrypted already: the recipients were added",
                      x->r.rewrapped, x->r.rewrapped > 1 ? "s were" : " was");
    note_images(x);
    json_array_foreach(x->layers, i, layer)
        json_array_foreach(json_object_get(layer, "warnings"), k, text)
            prop_cli_note(cli, "layer %zu: %s", i + 1, json_string_value(text));
}

static bool holds_plain(struct prop_dst *dst, const json_t *layer)
{
    struct prop_digest plain;
    bool there = false;
    const char *text = json_string_value(json_object_get(layer, "plain"));
    return text && prop_digest_parse(text, &plain, NULL) == 0 &&
           prop_dst_has_blob(dst, &plain,
                             (uint64_t)json_integer_value(json_object_get(layer, "size")), &there,
                             NULL) == 0 &&
           there;
}

/* A layout may hold the plain image too, under another name or under none any more: who hands the
 * folder on hands it on with that. A registry gives out only what is asked for. */
static void warn_plain_beside(const struct run *x, struct prop_dst *dst)
{
    size_t i, k, n = 0;
    json_t *image, *layer;
    if (x->dst.transport != PROP_T_OCI)
        return;
    json_array_foreach(x->images, i, image)
        json_array_foreach(json_object_get(image, "layers"), k, layer)
            n += holds_plain(dst, layer);
    if (n > 0)
        prop_cli_warn(x->cli, "'%s' holds %zu of these layers in plain too: do not hand on the whole "
                      "folder, or encrypt to a new one", x->dst.path, n);
}

/* Everything between opened places and the result. */
static int encrypt_to(struct run *x, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_dst struct prop_dst *dst = NULL;
    int rc;
    if ((rc = prop_src_open(&x->src, &x->oci, &src, err)) != 0 ||
        (rc = prop_dst_open(&x->dst, &x->oci, &dst, err)) != 0)
        return rc;
    if ((rc = prop_image_encrypt(src, dst, &x->eo, &x->r, err)) != 0)
        return prop_err_wrap(err, "encrypt '%s'", x->src.text);
    if (x->dst.transport != PROP_T_SINK &&
        ((rc = prop_image_read_back(dst, &x->r, x->to, x->images, &x->layers, err)) != 0 ||
         (rc = prop_dst_tag(dst, err)) != 0))
        return prop_err_wrap(err, "encrypt to '%s'", x->dst.text);
    if (prop_src_is_bare(src) && !x->r.is_wasm)
        prop_cli_warn(x->cli, "'%s' does not start as a Wasm module does", x->src.text);
    if (!prop_src_is_bare(src) && prop_cli_given(x->cli, "form"))
        prop_cli_note(x->cli, "--form is for bare modules: the image keeps the form it has");
    warn_plain_beside(x, dst);
    say_all(x);
    return 0;
}

static int read_who(struct run *x, struct prop_err *err)
{
    struct encrypt_opts *o = x->o;
    if (propenc_sh_given(&o->sh))
        return propenc_sh_recipients(x->cli, &o->sh, &o->who.keys, &x->to, err);
    int rc = propenc_fill_openers(x->cli, &o->who, false, &x->openers, err);
    return rc != 0 ? rc
                   : propenc_fill_recipients(x->cli, &o->who, x->openers, o->dry_run, &x->to, err);
}

static int read_places(struct run *x, struct prop_err *err)
{
    const struct encrypt_opts *o = x->o;
    const char *src = propenc_sh_given(&o->sh) ? o->sh.src : prop_cli_arg(x->cli, 0);
    const char *dst = propenc_sh_given(&o->sh) ? o->sh.dst : prop_cli_arg(x->cli, 1);
    if (o->dry_run)
        dst = "sink:";
    if (!src)
        return prop_err_set_id(err, PROP_E_USAGE, "arguments", "'encrypt' needs SRC DST");
    if (!dst) {
        (void)prop_err_set(err, PROP_E_USAGE, "no destination was given");
        return prop_err_hint(err, "docker://HOST/NAME:TAG, oci:FOLDER:TAG or dir:FOLDER; --dry-run "
                             "needs none");
    }
    int rc = prop_location_parse(src, &x->src, err);
    if (rc == 0)
        rc = prop_location_parse(dst, &x->dst, err);
    if (rc != 0 || x->dst.ref.digest.len == 0)
        return rc;
    (void)prop_err_set_id(err, PROP_E_USAGE, "digest-destination",
                          "'%s' names a manifest by its digest, which is not known before it is "
                          "made", dst);
    return prop_err_hint(err, "name a destination with a tag");
}

static int fill_options(struct run *x, struct prop_err *err)
{
    struct encrypt_opts *o = x->o;
    const struct prop_strs *layers = o->layers.n > 0 ? &o->layers : &o->encrypt_layers;
    if (o->layers.n > 0 && o->encrypt_layers.n > 0)
        return prop_err_set(err, PROP_E_USAGE, "--layer and --encrypt-layer are both given");
    if (o->all && o->platforms.n > 0)
        return prop_err_set(err, PROP_E_USAGE, "--all and --platform are both given");
    x->images = json_array();
    x->warnings = json_array();
    if (!x->images || !x->warnings)
        return prop_err_nomem(err);
    x->eo = (struct prop_encrypt_options){
        .recipients = x->to, .title = o->title, .layers = layers->items, .n_layers = layers->n,
        .openers = x->openers, .platforms = o->platforms.items, .n_platforms = o->platforms.n,
        .hide = o->hide, .images = x->images, .warnings = x->warnings,
    };
    return prop_form_parse(o->form, &x->eo.form, err);
}

static int run_encrypt(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct encrypt_opts *o = opts;
    auto_run struct run x = { .cli = cli, .o = o };
    int rc;
    prop_oci_opts_fill(cli, &o->oci, &x.oci);
    if ((!propenc_sh_given(&o->sh) && (rc = read_places(&x, err)) != 0) ||
        (rc = read_who(&x, err)) != 0 ||
        (propenc_sh_given(&o->sh) && (rc = read_places(&x, err)) != 0) ||
        (rc = fill_options(&x, err)) != 0 || (rc = encrypt_to(&x, err)) != 0)
        return rc;
    prop_auto_json json_t *doc = result_doc(&x);
    if (!doc)
        return prop_err_nomem(err);
    rc = propenc_report_made(&o->who, doc, err);
    return rc != 0 ? rc : prop_cli_result(cli, doc, print_human, err);
}

static const char details[] =
    "SRC is a Wasm file, '-', oci:FOLDER[:TAG], dir:FOLDER, oci-archive:FILE[:TAG] or\n"
    "docker://HOST/NAME[:TAG]. DST is one of the image kinds, or sink: for nowhere.\n"
    "A bare module becomes an artifact with one layer; of an image every layer is\n"
    "encrypted, its config stays as it is. Of an index all images are taken, where\n"
    "skopeo would take this machine's: an image left out in silence is one that runs in\n"
    "plain. A Docker image becomes an OCI image. Layers that are encrypted already get\n"
    "the recipients added, with a --key that opens them.\n"
    "\n"
    "--form propeller: one layer as wasm-to-oci makes it. cncf: application/wasm with\n"
    "the CNCF config. tar: an OCI image with module.wasm in a tar layer, for image-rs.\n"
    "--private is for propeller and cncf; of an image it also takes out diff_ids, which\n"
    "image-rs demands.\n"
    "\n"
    "  propenc encrypt addition.wasm docker://registry.example.com/team/addition:encrypted \\\n"
    "          -r provider:attestation-agent:keypath=kek.bin::keyid=kbs:///default/key/addition\n"
    "  propenc encrypt addition.wasm oci:image:v1 -r jwe:alice.pub.pem -r jwe:bob.pub.pem\n"
    "\n"
    "In the place of encrypt.sh, with -k @FILE or -k - to keep the key off the command line:\n"
    "  propenc encrypt -k <b64-encoded key> -i <key id> -s <source> -d <destination>";

const struct prop_verb propenc_verb_encrypt = {
    "encrypt", "SRC DST -r RECIPIENT...", "encrypt a module or an image", details, options,
    sizeof(struct encrypt_opts), 0, 2, run_encrypt
};
