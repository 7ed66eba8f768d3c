/* propenc decrypt SRC DST --key K...: to a file, or to another image. Nothing decrypted has a name
 * before its HMAC and digest held. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "oci/image_manifest.h"
#include "ocicrypt/image.h"
#include "util/file.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct decrypt_opts {
    struct prop_oci_opts oci;
    struct prop_strs keys, decryption_keys;
    bool allow_ctr;
    bool force;
};

static const struct prop_opt options[] = {
    { "key", 'k', PROP_OPT_LIST, "FILE",
      "private key (PEM, DER, JWK; FILE:file=PASSPHRASE-FILE, FILE:fd=N) or 32-byte KEK file",
      offsetof(struct decrypt_opts, keys), NULL, NULL, false },
    { "decryption-key", 0, PROP_OPT_LIST, "FILE", "skopeo's name for --key",
      offsetof(struct decrypt_opts, decryption_keys), NULL, NULL, true },
    { "allow-a256ctr", 0, PROP_OPT_FLAG, NULL,
      "take key packets wrapped with A256CTR, which have no integrity",
      offsetof(struct decrypt_opts, allow_ctr), NULL, NULL, false },
    { "force", 'f', PROP_OPT_FLAG, NULL, "replace an existing file",
      offsetof(struct decrypt_opts, force), NULL, NULL, false },
    PROP_OCI_OPTIONS(struct decrypt_opts, oci),
    PROP_OPT_END
};

static int read_keys(const struct decrypt_opts *o, struct prop_openers *openers,
                     struct prop_err *err)
{
    int rc = 0;
    if (o->keys.n + o->decryption_keys.n == 0) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "no-key", "no key was given");
        return prop_err_hint(err, "--key PRIVATE-KEY.pem, or --key KEK-FILE; 'propenc inspect' "
                             "tells which");
    }
    for (size_t i = 0; i < o->keys.n && rc == 0; i++)
        rc = prop_openers_add(openers, o->keys.items[i], err);
    for (size_t i = 0; i < o->decryption_keys.n && rc == 0; i++)
        rc = prop_openers_add(openers, o->decryption_keys.items[i], err);
    prop_openers_allow_a256ctr(openers, o->allow_ctr);
    return rc;
}

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
                            const struct prop_oci_options *oci, struct prop_openers *openers,
                            json_t **ret_doc, struct prop_err *err)
{
    prop_auto_dst struct prop_dst *dst = NULL;
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    int rc;
    if ((rc = prop_dst_open(loc, oci, &dst, err)) != 0 ||
        (rc = prop_image_decrypt(src, dst, openers, &digest, err)) != 0 ||
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
        (rc = prop_openers_new(&openers, err)) != 0 ||
        (rc = read_keys(o, openers, err)) != 0 ||
        (rc = prop_src_open(&from, &oci, &src, err)) != 0)
        goto out;
    bool bare = to.transport == PROP_T_FILE;
    rc = bare ? decrypt_to_file(src, to.path, o->force, openers, &doc, err)
              : decrypt_to_image(src, &to, &oci, openers, &doc, err);
    if (rc != 0)
        (void)prop_err_wrap(err, "decrypt '%s'", from.text);
    else if (!bare || strcmp(to.path, "-") != 0)
        rc = prop_cli_result(cli, doc, print_human, err);
out:
    prop_openers_free(openers);
    prop_location_release(&from);
    prop_location_release(&to);
    return rc;
}

static const char details[] =
    "DST is a file for the one Wasm module of the image ('-' for standard output), or\n"
    "an image: oci:FOLDER[:TAG], dir:FOLDER, docker://HOST/NAME[:TAG]. A file appears\n"
    "only after the layer's HMAC and digest held.\n"
    "\n"
    "  propenc decrypt docker://registry.example.com/team/addition:encrypted addition.wasm \\\n"
    "          --key kek.bin\n"
    "  propenc decrypt oci:image:v1 oci:plain:v1 --key alice.pem";

const struct prop_verb propenc_verb_decrypt = {
    "decrypt", "SRC DST --key FILE...", "decrypt a module or an image", details, options,
    sizeof(struct decrypt_opts), 2, 2, run_decrypt
};
