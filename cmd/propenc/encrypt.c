/* propenc encrypt SRC DST -r RECIPIENT...: one pass from source to destination; the name comes
 * last, after the manifest was read back and its key packets were opened. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "ocicrypt/image.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>

struct encrypt_opts {
    struct prop_oci_opts oci;
    struct prop_strs recipients, encryption_keys;
    const char *title;
    bool dry_run;
};

static const struct prop_opt options[] = {
    { "recipient", 'r', PROP_OPT_LIST, "RECIPIENT",
      "who may open it: jwe:PUBKEY, provider:attestation-agent:keypath=FILE::keyid=ID",
      offsetof(struct encrypt_opts, recipients), NULL, NULL, false },
    { "encryption-key", 0, PROP_OPT_LIST, "RECIPIENT", "skopeo's name for --recipient",
      offsetof(struct encrypt_opts, encryption_keys), NULL, NULL, true },
    { "title", 0, PROP_OPT_STRING, "NAME",
      "title of a bare module's layer (default: its file name; '' for none)",
      offsetof(struct encrypt_opts, title), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "encrypt and hash everything, write nothing",
      offsetof(struct encrypt_opts, dry_run), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct encrypt_opts, oci),
    PROP_OPT_END
};

/* Recipients from the command line, with what is worth a word about them. */
static int read_recipients(struct prop_cli *cli, const struct encrypt_opts *o,
                           struct prop_recipients *to, struct prop_err *err)
{
    size_t i;
    json_t *text;
    int rc = 0;
    for (i = 0; i < o->recipients.n && rc == 0; i++)
        rc = prop_recipients_add(to, o->recipients.items[i], err);
    for (i = 0; i < o->encryption_keys.n && rc == 0; i++)
        rc = prop_recipients_add(to, o->encryption_keys.items[i], err);
    if (rc != 0)
        return rc;
    if (prop_recipients_count(to) == 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "no-recipient", "no recipient was given");
        return prop_err_hint(err, "-r jwe:PUBKEY.pem, or -r provider:attestation-agent:"
                             "keypath=FILE::keyid=kbs:///repo/type/tag");
    }
    json_array_foreach((json_t *)(uintptr_t)prop_recipients_warnings(to), i, text)
        prop_cli_warn(cli, "%s", json_string_value(text));
    return 0;
}

/* The manifest as the destination gives it out must be the one written, with every layer encrypted
 * and every packet opening with the KEK at hand. */
static int read_back(const struct prop_location *dst, const struct prop_oci_options *oci,
                     const struct prop_recipients *to, const struct prop_encrypt_result *r,
                     json_t **ret_layers, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    struct prop_location at = *dst;
    struct prop_digest digest;
    size_t encrypted = 0;
    int rc;
    if (at.transport == PROP_T_DOCKER)
        at.ref.digest = r->manifest;
    if ((rc = prop_src_open(&at, oci, &src, err)) != 0 ||
        (rc = prop_src_manifest(src, &bytes, &type, &digest, err)) != 0 ||
        (rc = prop_digest_check(&digest, &r->manifest, "the manifest read back", err)) != 0 ||
        (rc = prop_manifest_parse(bytes.data, bytes.len, type, "the manifest read back", &m,
                                  err)) != 0)
        return rc;
    for (size_t i = 0; i < m.n_layers; i++)
        if ((rc = prop_recipients_verify(to, &m.layers[i], i == 0 ? &r->plain : NULL, err)) != 0)
            return prop_err_wrap(err, "layer %zu of %zu read back", i + 1, m.n_layers);
    rc = propenc_describe_layers(&m, ret_layers, &encrypted, err);
    if (rc == 0 && encrypted != m.n_layers)
        rc = prop_err_set(err, PROP_E_VERIFY, "%zu of %zu layers read back are encrypted",
                          encrypted, m.n_layers);
    return rc;
}

/* A registry is asked by digest before the name moves; local places are read under their name. */
static int name_and_check(struct prop_dst *dst, const struct prop_location *loc,
                          const struct prop_oci_options *oci, const struct prop_recipients *to,
                          const struct prop_encrypt_result *r, json_t **ret_layers,
                          struct prop_err *err)
{
    int rc;
    if (loc->transport == PROP_T_DOCKER) {
        rc = read_back(loc, oci, to, r, ret_layers, err);
        return rc != 0 ? rc : prop_dst_tag(dst, err);
    }
    rc = prop_dst_tag(dst, err);
    return rc != 0 ? rc : read_back(loc, oci, to, r, ret_layers, err);
}

static void print_human(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s  %s\n", json_string_value(json_object_get(doc, "digest")),
                  json_string_value(json_object_get(doc, "destination")));
}

static json_t *result_doc(const char *dst, const struct prop_encrypt_result *r, bool written,
                          const struct prop_recipients *to)
{
    char manifest[PROP_DIGEST_TEXT], layer[PROP_DIGEST_TEXT], plain[PROP_DIGEST_TEXT];
    return json_pack("{s:s,s:s,s:I,s:s,s:s,s:I,s:I,s:I,s:b}", "destination", dst, "digest",
                     prop_digest_format(&r->manifest, manifest), "size",
                     (json_int_t)r->manifest_size, "layer",
                     prop_digest_format(&r->layer, layer), "plain",
                     prop_digest_format(&r->plain, plain), "bytes", (json_int_t)r->bytes, "layers",
                     (json_int_t)r->layers, "recipients",
                     (json_int_t)prop_recipients_count(to), "written", written ? 1 : 0);
}

static void warn_layers(struct prop_cli *cli, const json_t *layers)
{
    size_t i, k;
    json_t *layer, *text;
    json_array_foreach((json_t *)(uintptr_t)layers, i, layer)
        json_array_foreach(json_object_get(layer, "warnings"), k, text)
            prop_cli_note(cli, "layer %zu: %s", i + 1, json_string_value(text));
}

/* Everything between opened places and the result. */
static int encrypt_to(struct prop_cli *cli, const struct prop_location *src_loc,
                      const struct prop_location *dst_loc, const struct prop_oci_options *oci,
                      const struct prop_encrypt_options *eo, struct prop_encrypt_result *r,
                      struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_dst struct prop_dst *dst = NULL;
    prop_auto_json json_t *layers = NULL;
    bool sink = dst_loc->transport == PROP_T_SINK;
    int rc;
    if ((rc = prop_src_open(src_loc, oci, &src, err)) != 0 ||
        (rc = prop_dst_open(dst_loc, oci, &dst, err)) != 0)
        return rc;
    if ((rc = prop_image_encrypt(src, dst, eo, r, err)) != 0)
        return prop_err_wrap(err, "encrypt '%s'", src_loc->text);
    if (!sink && (rc = name_and_check(dst, dst_loc, oci, eo->recipients, r, &layers, err)) != 0)
        return prop_err_wrap(err, "encrypt to '%s'", dst_loc->text);
    if (prop_src_is_bare(src) && !r->is_wasm)
        prop_cli_warn(cli, "'%s' does not start as a Wasm module does", src_loc->text);
    warn_layers(cli, layers);
    return 0;
}

static int run_encrypt(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct encrypt_opts *o = opts;
    struct prop_oci_options oci;
    struct prop_location src = { .path = NULL }, dst = { .path = NULL };
    struct prop_recipients *to = NULL;
    struct prop_encrypt_result r = { .layers = 0 };
    prop_auto_json json_t *doc = NULL;
    const char *dst_text = o->dry_run ? "sink:" : prop_cli_arg(cli, 1);
    int rc;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    if (!dst_text) {
        (void)prop_err_set(err, PROP_E_USAGE, "no destination was given");
        rc = prop_err_hint(err, "docker://HOST/NAME:TAG, oci:FOLDER:TAG or dir:FOLDER; --dry-run "
                           "needs none");
        goto out;
    }
    if ((rc = prop_location_parse(prop_cli_arg(cli, 0), &src, err)) != 0 ||
        (rc = prop_location_parse(dst_text, &dst, err)) != 0 ||
        (rc = prop_recipients_new(&to, err)) != 0 ||
        (rc = read_recipients(cli, o, to, err)) != 0)
        goto out;
    struct prop_encrypt_options eo = { .recipients = to, .title = o->title };
    if ((rc = encrypt_to(cli, &src, &dst, &oci, &eo, &r, err)) != 0)
        goto out;
    doc = result_doc(dst_text, &r, dst.transport != PROP_T_SINK, to);
    rc = doc ? prop_cli_result(cli, doc, print_human, err) : prop_err_nomem(err);
out:
    prop_recipients_free(to);
    prop_location_release(&src);
    prop_location_release(&dst);
    return rc;
}

static const char details[] =
    "SRC is a Wasm file, '-', oci:FOLDER[:TAG], dir:FOLDER, oci-archive:FILE[:TAG] or\n"
    "docker://HOST/NAME[:TAG]. DST is one of the image kinds, or sink: for nowhere.\n"
    "A bare module becomes an artifact with one layer; of an image every layer is\n"
    "encrypted, its config stays as it is.\n"
    "\n"
    "  propenc encrypt addition.wasm docker://registry.example.com/team/addition:encrypted \\\n"
    "          -r provider:attestation-agent:keypath=kek.bin::keyid=kbs:///default/key/addition\n"
    "  propenc encrypt addition.wasm oci:image:v1 -r jwe:alice.pub.pem -r jwe:bob.pub.pem";

const struct prop_verb propenc_verb_encrypt = {
    "encrypt", "SRC DST -r RECIPIENT...", "encrypt a module or an image", details, options,
    sizeof(struct encrypt_opts), 1, 2, run_encrypt
};
