/* propenc decrypt SRC DST --key K...: to a file, or to another image. Nothing decrypted has a name
 * before its HMAC and digest held. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "cmd/propenc/recipient_opts.h"
#include "oci/image_manifest.h"
#include "ocicrypt/image.h"
#include "util/file.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct decrypt_opts {
    struct prop_oci_opts oci;
    struct propenc_recipient_opts who;
    struct prop_strs platforms;
    bool force;
};

static const struct prop_opt options[] = {
    PROPENC_KEY_OPTIONS(struct decrypt_opts, who),
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace an existing file",
      offsetof(struct decrypt_opts, force), NULL, NULL, false },
    { "platform", 0, PROP_OPT_LIST, "OS/ARCH[/VARIANT]",
      "of an index only these images (default: all); the others are left out",
      offsetof(struct decrypt_opts, platforms), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct decrypt_opts, oci),
    PROP_OPT_END
};

/* What was decrypted: where its bytes go, and their digest for the report. */
struct to_file {
    struct prop_file_out *out;
    struct prop_hash *hash;
};

static int write_file(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct to_file *f = ctx;
    int rc = prop_hash_update(f->hash, data, len, err);
    return rc != 0 ? rc : prop_file_out_write(f->out, data, len, err);
}

static int load_manifest(struct prop_src *src, struct prop_manifest *m, struct prop_err *err)
{
    const struct prop_descriptor *layer = NULL;
    int rc = prop_image_manifest(src, "the image's manifest", m, NULL, NULL, err);
    if (rc != 0)
        return rc;
    rc = prop_manifest_wasm_layer(m, &layer, err);
    if (rc != 0)
        return prop_err_hint(err, "decrypt an image of other layers to oci:FOLDER or dir:FOLDER");
    if (!prop_layer_is_encrypted(layer))
        return prop_err_set_id(err, PROP_E_INPUT, "not-encrypted",
                               "the image's Wasm layer is not encrypted");
    return 0;
}

static int decrypt_to_file(struct prop_src *src, const char *path, bool force,
                           struct prop_openers *openers, json_t **ret_doc, struct prop_err *err)
{
    prop_auto_manifest struct prop_manifest m = { .json = NULL };
    prop_auto_file_out struct prop_file_out out = PROP_FILE_OUT_INIT;
    prop_auto_hash struct prop_hash *hash = NULL;
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    int rc;
    if (strcmp(path, "-") == 0 && isatty(STDOUT_FILENO)) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "terminal",
                              "a module is not written to a terminal");
        return prop_err_hint(err, "send it to a file or a pipe");
    }
    if ((rc = load_manifest(src, &m, err)) != 0 ||
        (rc = prop_hash_new(PROP_SHA256, &hash, err)) != 0 ||
        (rc = prop_file_out_open(&out, path, 0600, force, err)) != 0)
        return rc;
    struct to_file f = { .out = &out, .hash = hash };
    if ((rc = prop_image_decrypt_module(src, &m, openers, false, write_file, &f, err)) != 0 ||
        (rc = prop_hash_final(hash, &digest, err)) != 0 ||
        (rc = prop_file_out_commit(&out, err)) != 0)
        return rc;
    *ret_doc = json_pack("{s:s,s:s}", "destination", path, "digest",
                         prop_digest_format(&digest, text));
    return *ret_doc ? 0 : prop_err_nomem(err);
}

static int decrypt_to_image(struct prop_src *src, const struct prop_location *loc,
                            const struct prop_oci_options *oci, const struct prop_strs *platforms,
                            struct prop_openers *openers, json_t **ret_doc, struct prop_err *err)
{
    prop_auto_dst struct prop_dst *dst = NULL;
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    int rc;
    const struct prop_decrypt_options o = { .openers = openers, .platforms = platforms->items,
                                            .n_platforms = platforms->n,
                                            .verify_first = loc->transport == PROP_T_DOCKER };
    if ((rc = prop_dst_open(loc, oci, &dst, err)) != 0 ||
        (rc = prop_image_decrypt(src, dst, &o, &digest, err)) != 0 ||
        (loc->transport != PROP_T_SINK && (rc = prop_dst_tag(dst, err)) != 0))
        return rc;
    *ret_doc = json_pack("{s:s,s:s}", "destination", loc->text, "digest",
                         prop_digest_format(&digest, text));
    return *ret_doc ? 0 : prop_err_nomem(err);
}

/* Where it goes: here a plain word is a new file, whatever its ending. */
static int parse_dst(const char *text, struct prop_location *to, struct prop_err *err)
{
    int rc = prop_location_parse(text, to, err);
    if (rc == 0 || strcmp(prop_err_id(err), "no-such-source") != 0 || strchr(text, ':') || !*text)
        return rc;
    prop_auto_free char *file = prop_asprintf("./%s", text);
    prop_err_clear(err);
    return file ? prop_location_parse(file, to, err) : prop_err_nomem(err);
}

static void print_human(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s  %s\n", json_string_value(json_object_get(doc, "digest")),
                  json_string_value(json_object_get(doc, "destination")));
}

static int run_decrypt(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct decrypt_opts *o = opts;
    struct prop_oci_options oci;
    struct prop_location from = { .path = NULL }, to = { .path = NULL };
    struct prop_openers *openers = NULL;
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_json json_t *doc = NULL;
    int rc;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    if ((rc = prop_location_parse(prop_cli_arg(cli, 0), &from, err)) != 0 ||
        (rc = parse_dst(prop_cli_arg(cli, 1), &to, err)) != 0 ||
        (rc = propenc_fill_openers(cli, &o->who, true, &openers, err)) != 0 ||
        (rc = prop_src_open(&from, &oci, &src, err)) != 0)
        goto out;
    bool bare = to.transport == PROP_T_FILE;
    if (bare && o->platforms.n > 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "platform-and-file",
                              "--platform chooses images of an index, and a file takes one module");
        rc = prop_err_hint(err, "decrypt to oci:FOLDER or dir:FOLDER, or name the image's digest");
        goto out;
    }
    rc = bare ? decrypt_to_file(src, to.path, o->force, openers, &doc, err)
              : decrypt_to_image(src, &to, &oci, &o->platforms, openers, &doc, err);
    if (rc != 0)
        (void)prop_err_wrap(err, "decrypt '%s'", from.text);
    else if (!bare || strcmp(to.path, "-") != 0)
        rc = prop_cli_result(cli, doc, print_human, err);
out:
    prop_openers_free(openers);
    propenc_recipient_opts_release(&o->who);
    prop_location_release(&from);
    prop_location_release(&to);
    return rc;
}

static const char details[] =
    "DST is a file for the one Wasm module of the image ('-' for standard output), or\n"
    "an image: oci:FOLDER[:TAG], dir:FOLDER, docker://HOST/NAME[:TAG]. A file appears\n"
    "only after the layer's HMAC and digest held; to a registry nothing is sent before\n"
    "(the layer waits in $TMPDIR, encrypted as it is).\n"
    "Keys at hand are tried first; with --kbs the key broker is asked for the key that\n"
    "the image names. pkcs7 needs the certificate and its private key. A key provider of\n"
    "an ocicrypt configuration is asked only where --key provider:NAME names it.\n"
    "\n"
    "  propenc decrypt docker://registry.example.com/team/addition:encrypted addition.wasm \\\n"
    "          --key kek.bin\n"
    "  propenc decrypt oci:image:v1 oci:plain:v1 --key cert.pem --key key.pem\n"
    "  propenc decrypt oci:image:v1 addition.wasm --kbs https://kbs.example.com";

const struct prop_verb propenc_verb_decrypt = {
    "decrypt", "SRC DST --key KEY...", "decrypt a module or an image", details, options,
    sizeof(struct decrypt_opts), 2, 2, run_decrypt
};
