/* propkey rotate: another KEK for a key's images (publish/rotate.h). */
#include "cmd/cli/kbs_opts.h"
#include "cmd/cli/oci_opts.h"
#include "cmd/propkey/verbs.h"

#include "publish/rotate.h"

#include <stdio.h>
#include <string.h>

struct rotate_opts {
    struct prop_kbs_opts kbs;
    struct prop_oci_opts oci;
    const char *to, *kek, *policy_doc;
    struct prop_strs images;
    bool policy_as_is, retire, dry_run;
};

#define AT(member) offsetof(struct rotate_opts, member)

static const struct prop_opt options[] = {
    { "image", 'i', PROP_OPT_LIST, "REF",
      "an image the key opens (repeatable; default: those this machine's ledger knows, and these "
      "always with --retire)", AT(images), NULL, NULL, false },
    { "to", 0, PROP_OPT_STRING, "PATH",
      "name of the new key (default: the old one with the fingerprint behind it)", AT(to), NULL,
      NULL, false },
    { "kek", 0, PROP_OPT_STRING, "FILE",
      "the old KEK (with --retire: the new one) when it is not kept on this machine", AT(kek), NULL,
      NULL, false },
    { "policy-doc", 0, PROP_OPT_STRING, "FILE",
      "the policy document: its rules for the old name are copied for the new one", AT(policy_doc),
      NULL, NULL, false },
    { "policy-as-is", 0, PROP_OPT_FLAG, NULL,
      "the policy on the server lets in for the new name whom it should: leave it alone",
      AT(policy_as_is), NULL, NULL, false },
    { "retire", 0, PROP_OPT_FLAG, NULL,
      "take the old key out of the images, then out of the key broker", AT(retire), NULL, NULL,
      false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL,
      "check everything, say what would be done, change nothing", AT(dry_run), NULL, NULL, false },
    PROP_KBS_OPTIONS(struct rotate_opts, kbs),
    PROP_KBS_ADMIN_OPTIONS(struct rotate_opts, kbs),
    PROP_KBS_TEE_OPTION(struct rotate_opts, kbs),
    PROP_OCI_OPTIONS(struct rotate_opts, oci),
    PROP_OPT_END
};

static void tell_step(void *ctx, const char *text)
{
    prop_cli_note(ctx, "%s", text);
}

static void tell_warning(void *ctx, const char *text)
{
    prop_cli_warn(ctx, "%s", text);
}

static void line(FILE *out, const json_t *doc, const char *key, const char *label)
{
    const char *text = json_string_value(json_object_get(doc, key));
    if (text)
        (void)fprintf(out, "%-9s %s\n", label, text);
}

static void print_human(const json_t *doc, void *stream)
{
    FILE *out = stream;
    size_t i;
    json_t *image;
    bool dry = json_is_true(json_object_get(doc, "dry_run"));
    bool retired = json_object_get(doc, "deleted") != NULL;
    line(out, doc, "path", retired ? "retired" : "old key");
    line(out, doc, "to", "new key");
    line(out, doc, "kek_file", "kek file");
    line(out, doc, "policy", "policy");
    json_array_foreach(json_object_get(doc, "images"), i, image)
        line(out, image, "image", dry ? "would" : "image");
    json_array_foreach(json_object_get(doc, "skipped"), i, image)
        (void)fprintf(out, "%-9s %s\n", "left out", json_string_value(image));
    if (!dry && !retired)
        (void)fprintf(out, "%-9s propkey rotate --retire %s\n", "next",
                      json_string_value(json_object_get(doc, "path")));
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct rotate_opts *o = opts;
    struct prop_oci_options oci;
    prop_auto_kbs struct prop_kbs *kbs = NULL;
    prop_auto_json json_t *doc = NULL;
    prop_oci_opts_fill(cli, &o->oci, &oci);
    struct prop_rotate p = {
        .oci = &oci, .path = prop_cli_arg(cli, 0), .to = o->to, .kek_file = o->kek,
        .images = o->images.items, .n_images = o->images.n, .policy_doc = o->policy_doc,
        .policy_as_is = o->policy_as_is, .retire = o->retire, .dry_run = o->dry_run,
        .step = o->dry_run ? NULL : tell_step, .warn = tell_warning, .ctx = cli,
    };
    int rc = 0;
    /* Evidence is used only when it was named. */
    if (o->kbs.tee && strcmp(o->kbs.tee, "auto") != 0)
        rc = prop_kbs_opts_tee(&o->kbs, &p.tee, err);
    if (rc == 0)
        rc = prop_kbs_opts_open_admin(cli, &o->kbs, &kbs, err);
    p.kbs = kbs;
    if (rc == 0)
        rc = prop_rotate_run(&p, &doc, err);
    if (rc == 0 && !o->dry_run)
        prop_kbs_opts_say_form(cli, kbs, doc);
    return rc < 0 ? rc : prop_cli_result(cli, doc, print_human, err);
}

const struct prop_verb propkey_verb_rotate = {
    "rotate", "PATH", "give a key's images another key, and later retire the old one",
    "A new KEK is made, kept on this machine and given to the key broker under a new name, after\n"
    "the policy lets in for that name whom it lets in for the old one. Then each image gets it as\n"
    "a further recipient: only manifests are written, no layer is read or moved, and the tag is\n"
    "moved last. The old key goes on working until --retire, with which images die that this\n"
    "machine does not know and that nobody named. A run that was interrupted is\n"
    "finished by the next one. A guest that had the old key may have kept it: to shut it out,\n"
    "publish again.\n"
    "\n"
    "  propkey rotate default/key/app --kbs https://kbs.example.com --admin-key admin.key \\\n"
    "      --policy-doc policy.toml\n"
    "  propkey rotate --retire default/key/app --kbs https://kbs.example.com --admin-key admin.key",
    options, sizeof(struct rotate_opts), 1, 1, run
};
