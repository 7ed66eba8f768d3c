/* proppush push SRC... DST: files as an artifact, or an image as it is. */
#include "cmd/proppush/pack.h"
#include "cmd/proppush/transfer.h"
#include "cmd/proppush/verbs.h"

#include "cmd/cli/oci_opts.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <string.h>
#include <unistd.h>

struct push_opts {
    struct prop_oci_opts oci;
    const char *title, *digest, *form, *artifact_type, *media_type, *config, *subject,
        *author;
    struct prop_strs annotations, platforms;
    bool keep_path, dry_run, sign;
};

#define AT(member) offsetof(struct push_opts, member)

static const struct prop_opt options[] = {
    { "form", 0, PROP_OPT_STRING, "FORM",
      "wasm-to-oci (default for one module), cncf, tar, or oras (default otherwise: any files)",
      AT(form), NULL, NULL, false },
    { "annotation", 'a', PROP_OPT_LIST, "KEY=VALUE", "annotation of the manifest (repeatable)",
      AT(annotations), NULL, NULL, false },
    { "artifact-type", 0, PROP_OPT_STRING, "TYPE", "what the artifact says it is",
      AT(artifact_type), NULL, NULL, false },
    { "media-type", 0, PROP_OPT_STRING, "TYPE",
      "of files without their own FILE:TYPE (default: application/wasm for Wasm, else a tar "
      "layer's)",
      AT(media_type), NULL, NULL, false },
    { "config", 0, PROP_OPT_STRING, "FILE[:TYPE]", "config blob of --form oras (default: empty)",
      AT(config), NULL, NULL, false },
    { "subject", 0, PROP_OPT_STRING, "REF|DIGEST",
      "the image in the same repository that the artifact refers to", AT(subject), NULL, NULL,
      false },
    { "author", 0, PROP_OPT_STRING, "NAME", "author in the config of --form cncf", AT(author), NULL,
      NULL, false },
    { "title", 0, PROP_OPT_STRING, "NAME", "title of a module's layer (default: file name)",
      AT(title), NULL, NULL, false },
    { "keep-path", 0, PROP_OPT_FLAG, NULL, "titles are the paths as typed, folders included",
      AT(keep_path), NULL, NULL, false },
    { "platform", 0, PROP_OPT_LIST, "OS/ARCH[/VARIANT]",
      "of an index: only these images (repeatable; default: all of them)", AT(platforms), NULL,
      NULL, false },
    { "digest", 0, PROP_OPT_STRING, "DIGEST", "what the manifest of SRC must be", AT(digest), NULL,
      NULL, false },
    { "dry-run", 'n', PROP_OPT_FLAG, NULL,
      "check both ends, say what would be done, change nothing", AT(dry_run), NULL, NULL, false },
    { "sign", 0, PROP_OPT_FLAG, NULL, "refused: Notary signatures are gone", AT(sign), NULL, NULL,
      true },
    PROP_OCI_OPTIONS(struct push_opts, oci),
    PROP_OPT_END
};

/* What is in the way of packing, or NULL: an image is never changed. */
static const char *packing_option(const struct push_opts *o)
{
    return o->form != NULL            ? "--form"
           : o->annotations.n > 0     ? "--annotation"
           : o->artifact_type != NULL ? "--artifact-type"
           : o->media_type != NULL    ? "--media-type"
           : o->config != NULL        ? "--config"
           : o->subject != NULL       ? "--subject"
           : o->author != NULL        ? "--author"
           : o->keep_path             ? "--keep-path"
                                      : NULL;
}

/* A file of that name, with a type behind it or not, comes before any reference. */
static bool is_image(const char *text)
{
    static const char *const transports[] = { "docker://", "oci:", "oci-archive:", "dir:" };
    struct proppush_file f = { NULL, NULL, NULL };
    struct prop_location loc;
    bool image;

    for (size_t i = 0; i < PROP_ARRAY_LEN(transports); i++)
        if (prop_starts_with(text, transports[i]))
            return true;
    if (strcmp(text, "-") == 0 || proppush_file_read(text, &f, NULL) < 0)
        return false;
    image = access(f.path, F_OK) != 0;
    proppush_file_release(&f);
    if (!image || prop_location_parse(text, &loc, NULL) < 0)
        return false;
    image = loc.transport != PROP_T_FILE;
    prop_location_release(&loc);
    return image;
}

/* A file alone, in its usual form. */
static bool is_bare(const char *text)
{
    struct proppush_file f = { NULL, NULL, NULL };
    bool bare;

    if (is_image(text) || proppush_file_read(text, &f, NULL) < 0)
        return false;
    bare = f.type == NULL;
    proppush_file_release(&f);
    return bare;
}

/* --- the subject --- */

/* "docker://HOST/NAME@DIGEST" or "oci:FOLDER:@DIGEST": the digest in the place that is written to.
 */
static char *beside(const struct prop_location *to, const char *digest)
{
    if (to->transport == PROP_T_DOCKER)
        return prop_asprintf("docker://%s/%s@%s", to->ref.domain, to->ref.path, digest);
    return prop_asprintf("oci:%s:@%s", to->path, digest);
}

static bool one_place(const struct prop_location *a, const struct prop_location *b)
{
    if (a->transport != b->transport)
        return false;
    if (a->transport == PROP_T_DOCKER)
        return strcmp(a->ref.domain, b->ref.domain) == 0 && strcmp(a->ref.path, b->ref.path) == 0;
    return a->transport == PROP_T_OCI && strcmp(a->path, b->path) == 0;
}

static int check_subject(const char *text, const struct prop_location *to, struct prop_err *err)
{
    struct prop_location loc;
    bool same;
    int rc = prop_location_parse(text, &loc, err);

    if (rc < 0)
        return rc;
    same = one_place(&loc, to);
    prop_location_release(&loc);
    if (same)
        return 0;
    prop_err_set_id(err, PROP_E_USAGE, "subject-elsewhere",
                    "'%s' is not in the repository of '%s'", text, to->text);
    return prop_err_hint(err, "copy the subject there first; referrers live beside what they name");
}

static int read_subject(const char *text, const struct prop_location *to,
                        const struct prop_oci_options *oci, json_t **ret, struct prop_err *err)
{
    struct prop_digest digest;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    bool alone = prop_starts_with(text, "sha256:") || prop_starts_with(text, "sha512:");
    prop_auto_free char *place = alone ? beside(to, text) : prop_strdup(text);
    prop_auto_src struct prop_src *src = NULL;
    int rc = alone ? prop_digest_parse(text, &digest, err) : 0;

    if (rc == 0)
        rc = place == NULL ? prop_err_nomem(err) : check_subject(place, to, err);
    if (rc == 0)
        rc = proppush_open_src(place, NULL, oci, &src, err);
    if (rc == 0)
        rc = prop_src_manifest(src, &bytes, &type, &digest, err);
    if (rc < 0)
        return prop_err_wrap(err, "--subject");
    *ret = prop_descriptor_new(type, &digest, bytes.len);
    return *ret == NULL ? prop_err_nomem(err) : 0;
}

/* --- files --- */

struct work {
    struct proppush_file *files; /* owned array */
    size_t n;
    struct proppush_file config;
    json_t *annotations, *subject;
    struct proppush_pack pack;
};

static void work_release(struct work *w)
{
    for (size_t i = 0; i < w->n; i++)
        proppush_file_release(&w->files[i]);
    prop_free(w->files);
    proppush_file_release(&w->config);
    json_decref(w->annotations);
    json_decref(w->subject);
}
#define auto_work __attribute__((cleanup(work_release)))

static int set_title(struct proppush_file *f, const struct push_opts *o, struct prop_err *err)
{
    const char *title = o->keep_path ? f->path : o->title;
    char *copy;

    if (title == NULL)
        return 0;
    if (o->keep_path && prop_starts_with(title, "./"))
        title += 2;
    copy = prop_strdup(title);
    if (copy == NULL)
        return prop_err_nomem(err);
    prop_free(f->title);
    f->title = copy;
    return 0;
}

static int read_files(struct prop_cli *cli, const struct push_opts *o, struct work *w,
                      struct prop_err *err)
{
    size_t n = (size_t)prop_cli_argc(cli) - 1;
    int rc = 0;

    w->files = prop_realloc_array(NULL, n, sizeof(*w->files));
    if (w->files == NULL)
        return prop_err_nomem(err);
    for (; rc == 0 && w->n < n; w->n++) {
        rc = proppush_file_read(prop_cli_arg(cli, (int)w->n), &w->files[w->n], err);
        if (rc < 0)
            return rc;
        rc = set_title(&w->files[w->n], o, err);
    }
    if (rc == 0 && o->config != NULL)
        rc = proppush_file_read(o->config, &w->config, err);
    return rc;
}

static int prepare(struct prop_cli *cli, const struct push_opts *o, struct work *w,
                   struct prop_err *err)
{
    struct proppush_pack *p = &w->pack;
    int rc = read_files(cli, o, w, err);

    if (rc == 0)
        rc = proppush_annotations_read(&o->annotations, &w->annotations, err);
    if (rc < 0)
        return rc;
    if (o->title != NULL && w->n > 1)
        return prop_err_set(err, PROP_E_USAGE, "--title is for one file");
    *p = (struct proppush_pack){ .files = w->files, .n = w->n, .media_type = o->media_type,
                                 .artifact_type = o->artifact_type, .author = o->author,
                                 .config = o->config != NULL ? &w->config : NULL,
                                 .annotations = w->annotations };
    p->form = w->n == 1 && w->files[0].type == NULL && o->media_type == NULL && o->config == NULL
                  ? PROPPUSH_FORM_WASM_TO_OCI
                  : PROPPUSH_FORM_ORAS;
    return o->form != NULL ? proppush_form_parse(o->form, &p->form, err) : 0;
}

static int put_artifact(struct work *w, struct proppush_ends *ends,
                        const struct prop_oci_options *oci, struct proppush_moved *moved,
                        char **ret_tag, struct prop_err *err)
{
    prop_auto_buf struct prop_buf manifest = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    struct prop_dst *dst = ends->sink != NULL ? ends->sink : ends->dst;
    int rc;

    if (ends->sink != NULL) {
        w->pack.ask = ends->dst;
        w->pack.new_blobs = &moved->new_blobs;
        w->pack.new_bytes = &moved->new_bytes;
        moved->counted = true;
    }
    rc = proppush_pack_put(&w->pack, oci, dst, &manifest, &moved->digest, err);
    if (rc == 0 && w->subject != NULL)
        rc = proppush_announce(ends, oci, &manifest, PROP_MT_OCI_MANIFEST, ret_tag, err);
    if (rc == 0)
        rc = prop_dst_tag(dst, err);
    return rc == 0 ? proppush_give_names(ends, oci, &moved->digest, err) : rc;
}

/* What is special about an artifact beside the common result. */
static int add_words(const struct work *w, const char *tag, json_t *doc, struct prop_err *err)
{
    const char *subject = json_string_value(json_object_get(w->subject, "digest"));

    if (w->n > 1) {
        json_t *all = json_array();

        if (json_object_set_new(doc, "files", all) < 0)
            return prop_err_nomem(err);
        for (size_t i = 0; i < w->n; i++)
            if (json_array_append_new(all, json_string(w->files[i].path)) < 0)
                return prop_err_nomem(err);
    }
    if ((subject != NULL && json_object_set_new(doc, "subject", json_string(subject)) < 0) ||
        (tag != NULL && json_object_set_new(doc, "referrers_tag", json_string(tag)) < 0))
        return prop_err_nomem(err);
    return 0;
}

static int push_files(struct prop_cli *cli, const struct push_opts *o, const char *dst,
                      const struct prop_oci_options *oci, json_t **ret, struct prop_err *err)
{
    auto_work struct work w = { .files = NULL };
    auto_proppush_ends struct proppush_ends ends = PROPPUSH_ENDS_INIT;
    auto_proppush_moved struct proppush_moved moved = { .images = NULL };
    prop_auto_free char *tag = NULL;
    int rc = prepare(cli, o, &w, err);

    if (rc == 0)
        rc = proppush_moved_init(&moved, err);
    if (rc == 0)
        rc = proppush_ends_open(&ends, dst, oci, o->dry_run, err);
    if (rc == 0 && o->subject != NULL)
        rc = read_subject(o->subject, &ends.names.first, oci, &w.subject, err);
    if (rc < 0)
        return rc;
    w.pack.subject = w.subject;
    rc = put_artifact(&w, &ends, oci, &moved, &tag, err);
    if (rc < 0)
        return rc == PROP_E_INTERRUPTED || rc == PROP_E_USAGE
                   ? rc
                   : prop_err_wrap(err, "push to '%s'", dst);
    rc = proppush_describe(&ends, w.files[0].path, &moved, ret, err);
    return rc == 0 ? add_words(&w, tag, *ret, err) : rc;
}

static int check_options(struct prop_cli *cli, const struct push_opts *o, struct prop_err *err)
{
    const char *src = prop_cli_arg(cli, 0), *option = packing_option(o);
    const char *dst = prop_cli_arg(cli, prop_cli_argc(cli) - 1);

    if (o->sign) {
        prop_err_set_id(err, PROP_E_UNSUPPORTED, "notary", "--sign: Notary signatures are gone");
        return prop_err_hint(err, "encrypt instead (proppush publish), or sign with another tool");
    }
    if (o->keep_path && o->title != NULL)
        return prop_err_set(err, PROP_E_USAGE, "--title and --keep-path exclude each other");
    for (int i = 0; i + 1 < prop_cli_argc(cli); i++) {
        src = prop_cli_arg(cli, i);
        if (!is_image(src) || (option == NULL && prop_cli_argc(cli) == 2))
            continue;
        prop_err_set(err, PROP_E_USAGE, "%s; '%s' is an image and is not changed",
                     option != NULL ? option : "several files make an artifact", src);
        if (access(dst, F_OK) == 0)
            prop_err_hint(err, "the destination comes last: proppush push FILE... %s", src);
        return PROP_E_USAGE;
    }
    return 0;
}

static int run(struct prop_cli *cli, void *opts, struct prop_err *err)
{
    struct push_opts *o = opts;
    const char *dst = prop_cli_arg(cli, prop_cli_argc(cli) - 1);
    const struct proppush_copy c = { .src = prop_cli_arg(cli, 0), .dst = dst, .digest = o->digest,
                                     .title = o->title, .platforms = o->platforms.items,
                                     .n_platforms = o->platforms.n, .dry_run = o->dry_run };
    struct prop_oci_options oci;
    prop_auto_json json_t *doc = NULL;
    int rc = check_options(cli, o, err);
    bool whole = prop_cli_argc(cli) == 2 && (is_image(c.src) || (is_bare(c.src) && !o->dry_run) ||
                                             o->platforms.n > 0);

    prop_oci_opts_fill(cli, &o->oci, &oci);
    if (rc == 0) /* one module in its usual form, or an image, goes the straight way */
        rc = whole && packing_option(o) == NULL ? proppush_copy_image(&c, &oci, &doc, err)
                                                : push_files(cli, o, dst, &oci, &doc, err);
    return rc == 0 ? prop_cli_result(cli, doc, proppush_print_copied, err) : rc;
}

const struct prop_verb proppush_verb_push = {
    "push",
    "SRC... DST",
    "push a module, files or an image",
    "SRC is a .wasm file, '-' for stdin, or an image: oci:FOLDER[:TAG], oci-archive:FILE[:TAG],\n"
    "dir:FOLDER, docker://HOST/NAME:TAG. DST may have several tags: HOST/NAME:TAG,TAG. A bare "
    "module\n"
    "becomes an artifact that wasm-to-oci and its readers know; files with types (FILE:TYPE), and\n"
    "several, one as oras makes it; an image is pushed byte for byte. Tags move last, after\n"
    "everything else is there.\n\n"
    "  proppush push addition.wasm 127.0.0.1:5000/team/addition:v1\n"
    "  proppush push --form cncf addition.wasm 127.0.0.1:5000/team/addition:v1,latest\n"
    "  proppush push sbom.json:application/spdx+json --artifact-type application/spdx+json \\\n"
    "      --subject 127.0.0.1:5000/team/addition:v1 127.0.0.1:5000/team/addition:sbom\n"
    "  proppush push oci:layout:v1 docker://registry.example.com/team/app:v1",
    options,
    sizeof(struct push_opts),
    2,
    -1,
    run
};
