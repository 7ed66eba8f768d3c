/* propenc rewrap SRC [DST]: other recipients by another manifest. No byte of a layer is read, and in
 * one place none is moved. The name comes last, after the manifest was read back. */
#include "cmd/propenc/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "cmd/propenc/recipient_opts.h"
#include "ocicrypt/rewrap.h"
#include "util/limits.h"
#include "util/mem.h"

#include <stdio.h>
#include <string.h>

struct rewrap_opts {
    struct prop_oci_opts oci;
    struct propenc_recipient_opts who;
    struct prop_strs remove, platforms;
    bool add, replace, dry_run;
};

static const struct prop_opt options[] = {
    PROPENC_RECIPIENT_OPTIONS(struct rewrap_opts, who),
    { "add", 0, PROP_OPT_FLAG, NULL, "the recipients of -r may open it too (the default)",
      offsetof(struct rewrap_opts, add), NULL, NULL, false },
    { "replace", 0, PROP_OPT_FLAG, NULL, "nobody but the recipients of -r may open it",
      offsetof(struct rewrap_opts, replace), NULL, NULL, false },
    { "remove", 0, PROP_OPT_LIST, "WHO",
      "take out a recipient: kbs:///r/t/n, kid:ID, thumb:ID, or a scheme (jwe, provider.NAME)",
      offsetof(struct rewrap_opts, remove), NULL, NULL, false },
    { "platform", 0, PROP_OPT_LIST, "OS/ARCH[/VARIANT]",
      "of an index only these images (default: all); the others stay as they are",
      offsetof(struct rewrap_opts, platforms), NULL, NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL, "work it out, write nothing",
      offsetof(struct rewrap_opts, dry_run), NULL, NULL, false },
    PROPENC_KEY_OPTIONS(struct rewrap_opts, who),
    PROP_OCI_OPTIONS(struct rewrap_opts, oci),
    PROP_OPT_END
};

static bool names_recipients(const struct rewrap_opts *o)
{
    return o->who.recipients.n + o->who.encryption_keys.n > 0 || o->who.generate;
}

static int check_options(const struct rewrap_opts *o, struct prop_err *err)
{
    if (o->add && o->replace)
        return prop_err_set_id(err, PROP_E_USAGE, "add-and-replace",
                               "--add and --replace are both given");
    if (names_recipients(o) || o->remove.n > 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "no-recipient", "nothing was asked for");
    return prop_err_hint(err, "-r RECIPIENT adds one, with --replace it is the only one; --remove "
                              "WHO takes one out");
}

/* A pin belongs to what is read; what is written gets the name beside it. */
static int unpin(struct prop_location *to, struct prop_err *err)
{
    struct prop_digest digest;
    char *at = to->transport == PROP_T_OCI && to->name ? strrchr(to->name, '@') : NULL;
    bool pinned = to->transport == PROP_T_DOCKER && to->ref.digest.len > 0;
    bool nameless = pinned && !to->ref.tag;
    if (at && prop_digest_parse(at + 1, &digest, NULL) == 0) {
        *at = 0;
        nameless = at == to->name;
    }
    to->ref.digest.len = 0;
    if (!nameless)
        return 0;
    (void)prop_err_set_id(err, PROP_E_USAGE, "digest-destination",
                          "'%s' names one manifest by its digest: another one cannot take its place",
                          to->text);
    return prop_err_hint(err, "name a destination with a tag");
}

/* Nobody else may have given the name to something new meanwhile: that would be lost. */
static int check_unmoved(struct prop_dst *dst, const struct prop_digest *before,
                         struct prop_err *err)
{
    struct prop_digest now;
    int rc = prop_dst_current(dst, &now, err);
    if (rc != 0 || prop_digest_equal(&now, before))
        return rc;
    return prop_err_set_id(err, PROP_E_EXISTS, "image-changed",
                           "somebody else gave the name to another image meanwhile");
}

/* From opened places to a named manifest. */
static int rewrap_to(const struct prop_location *from, const struct prop_location *to,
                     const struct prop_oci_options *oci, const struct prop_rewrap_options *ro,
                     struct prop_rewrap_result *r, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_dst struct prop_dst *dst = NULL;
    prop_auto_buf struct prop_buf back = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    int rc;
    if ((rc = prop_src_open(from, oci, &src, err)) != 0 ||
        (rc = prop_dst_open(to, oci, &dst, err)) != 0)
        return rc;
    if ((rc = prop_image_rewrap(src, dst, ro, r, err)) != 0)
        return prop_err_wrap(err, "rewrap '%s'", from->text);
    if (to->transport == PROP_T_SINK)
        return 0;
    if ((rc = prop_dst_read_back(dst, &r->manifest, &back, err)) != 0 ||
        (strcmp(from->text, to->text) == 0 && (rc = check_unmoved(dst, &r->before, err)) != 0))
        return prop_err_wrap(err, "rewrap '%s'", to->text);
    return prop_dst_tag(dst, err);
}

static void print_human(const json_t *doc, void *stream)
{
    (void)fprintf(stream, "%s  %s  %lld added, %lld removed\n",
                  json_string_value(json_object_get(doc, "digest")),
                  json_string_value(json_object_get(doc, "destination")),
                  (long long)json_integer_value(json_object_get(doc, "added")),
                  (long long)json_integer_value(json_object_get(doc, "removed")));
}

static int report(struct prop_cli *cli, const struct rewrap_opts *o, const char *dst,
                  const struct prop_rewrap_result *r, struct prop_err *err)
{
    char before[PROP_DIGEST_TEXT], after[PROP_DIGEST_TEXT];
    prop_auto_json json_t *doc =
        json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:b}", "destination", dst, "before",
                  prop_digest_format(&r->before, before), "digest",
                  prop_digest_format(&r->manifest, after), "layers", (json_int_t)r->layers, "added",
                  (json_int_t)r->added, "removed", (json_int_t)r->removed, "written",
                  o->dry_run ? 0 : 1);
    if (!doc)
        return prop_err_nomem(err);
    if (r->plain > 0)
        prop_cli_warn(cli, "%zu layer%s not encrypted and stay%s readable to everybody", r->plain,
                      r->plain > 1 ? "s are" : " is", r->plain > 1 ? "" : "s");
    if (r->added + r->removed == 0)
        prop_cli_note(cli, "nothing had to change: the recipients are there already");
    int rc = propenc_report_made(&o->who, doc, err);
    return rc != 0 ? rc : prop_cli_result(cli, doc, print_human, err);
}

/* Taking recipients out opens nothing: a key broker that the environment names is not asked then. */
static bool opens(const struct rewrap_opts *o)
{
    return names_recipients(o) || o->who.keys.n + o->who.decryption_keys.n > 0;
}

static int run_rewrap(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct rewrap_opts *o = opts;
    struct prop_oci_options oci;
    struct prop_location from = { .path = NULL }, to = { .path = NULL };
    struct prop_openers *openers = NULL;
    struct prop_recipients *add = NULL;
    struct prop_rewrap_result r = { .layers = 0 };
    const char *src_text = prop_cli_arg(cli, 0);
    const char *dst_text = o->dry_run ? "sink:" : prop_cli_arg(cli, 1) ? prop_cli_arg(cli, 1)
                                                                         : src_text;
    int rc;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    if ((rc = check_options(o, err)) != 0 ||
        (rc = prop_location_parse(src_text, &from, err)) != 0 ||
        (rc = prop_location_parse(dst_text, &to, err)) != 0 || (rc = unpin(&to, err)) != 0 ||
        (opens(o) && (rc = propenc_fill_openers(cli, &o->who, names_recipients(o), &openers,
                                                err)) != 0))
        goto out;
    if (names_recipients(o) &&
        (rc = propenc_fill_recipients(cli, &o->who, openers, o->dry_run, &add, err)) != 0)
        goto out;
    const struct prop_rewrap_options ro = { .openers = openers, .add = add, .replace = o->replace,
                                            .remove = o->remove.items, .n_remove = o->remove.n,
                                            .platforms = o->platforms.items,
                                            .n_platforms = o->platforms.n,
                                            .dry_run = o->dry_run };
    rc = rewrap_to(&from, &to, &oci, &ro, &r, err);
    if (rc == 0)
        rc = report(cli, o, dst_text, &r, err);
out:
    prop_recipients_free(add);
    prop_openers_free(openers);
    propenc_recipient_opts_release(&o->who);
    prop_location_release(&from);
    prop_location_release(&to);
    return rc;
}

static const char details[] =
    "Without DST the image is changed in its place. There, also in a registry, the new\n"
    "manifest is all that is written; to another place blobs are copied as they are.\n"
    "Adding needs a key that opens the image today (--key, or --kbs); removing does not.\n"
    "What somebody could open once they may have kept: a new layer key needs\n"
    "decrypting and encrypting.\n"
    "\n"
    "  propenc rewrap docker://registry.example.com/team/addition:encrypted --key kek.bin \\\n"
    "          -r jwe:bob.pub.pem\n"
    "  propenc rewrap oci:image:v1 --key old.bin --replace \\\n"
    "          -r provider:attestation-agent:keypath=new.bin::keyid=kbs:///default/key/new\n"
    "  propenc rewrap oci:image:v1 oci:image:v2 --remove kbs:///default/key/old";

const struct prop_verb propenc_verb_rewrap = {
    "rewrap", "SRC [DST]", "change who may open an image, without touching its layers", details,
    options, sizeof(struct rewrap_opts), 1, 2, run_rewrap
};
