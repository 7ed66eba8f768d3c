/* Titles come from whoever pushed: they are paths below one folder or they are refused. */
#include "cmd/proppush/pull_files.h"

#include "cmd/proppush/choose.h"
#include "cmd/proppush/verbs.h"
#include "ocicrypt/image.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* oras packs folders as layers of this mark; they are not unpacked here. */
#define UNPACK "io.deis.oras.content.unpack"
#define TITLE_MAX 1024

struct writing {
    struct prop_file_out out;
    uint64_t size;
    uint8_t head[4];
};

static int write_bytes(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    struct writing *w = ctx;
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len && w->size + i < sizeof(w->head); i++)
        w->head[w->size + i] = bytes[i];
    w->size += len;
    return prop_file_out_write(&w->out, data, len, err);
}

static bool is_encrypted(const struct prop_descriptor *layer)
{
    return prop_ends_with(layer->media_type, PROP_MT_ENCRYPTED);
}

static int fetch(struct prop_src *src, const struct prop_descriptor *layer, const char *file,
                 bool force, bool wasm, struct prop_err *err)
{
    struct writing w = { PROP_FILE_OUT_INIT, 0, { 0 } };
    int rc = prop_file_out_open(&w.out, file, 0644, force, err);

    if (rc == 0)
        rc = prop_src_blob(src, layer, write_bytes, &w, err);
    if (rc == 0 && wasm && (w.size < 4 || memcmp(w.head, "\0asm", 4) != 0))
        rc = prop_err_set_id(err, PROP_E_INPUT, "not-wasm", "the layer is no WebAssembly module");
    if (rc == 0)
        rc = prop_file_out_commit(&w.out, err);
    prop_file_out_release(&w.out);
    return rc;
}

static int open_image(const struct proppush_pull *p, const struct prop_oci_options *oci,
                      struct prop_src **ret_src, struct prop_manifest *ret,
                      struct prop_digest *ret_digest, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_buf struct prop_buf bytes = PROP_BUF_INIT(PROP_LIMIT_MANIFEST);
    prop_auto_free char *type = NULL;
    int rc = proppush_open_src(p->src, p->digest, oci, &src, err);

    if (rc == 0)
        rc = proppush_one_image(src, p->platform, &bytes, &type, ret_digest, err);
    if (rc == 0)
        rc = prop_manifest_parse(bytes.data, bytes.len, type, "the manifest", ret, err);
    if (rc == 0)
        *ret_src = PROP_TAKE(src);
    return rc;
}

static int refuse_encrypted(const struct proppush_pull *p, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_UNSUPPORTED, "encrypted-layer",
                    "the module of '%s' is encrypted and cannot be written as a module", p->src);
    return prop_err_hint(err,
                         "propenc decrypt --key KEY %s FILE opens it, propcvm run runs it; "
                         "--encrypted writes what is there",
                         p->src);
}

/* --- one module --- */

static int describe(const struct proppush_pull *p, const struct prop_digest *digest,
                    const struct prop_descriptor *layer, json_t **ret, struct prop_err *err)
{
    char manifest[PROP_DIGEST_TEXT], module[PROP_DIGEST_TEXT];
    json_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:I}", "source", p->src, "file", p->dst, "digest",
                            prop_digest_format(digest, manifest), "layer",
                            prop_digest_format(&layer->digest, module), "size",
                            (json_int_t)layer->size);

    if (doc == NULL)
        return prop_err_nomem(err);
    if (is_encrypted(layer))
        (void)json_object_set_new(doc, "encrypted", json_true());
    if (p->dry_run)
        (void)json_object_set_new(doc, "dry_run", json_true());
    *ret = doc;
    return 0;
}

int proppush_pull_module(const struct proppush_pull *p, const struct prop_oci_options *oci,
                         json_t **ret, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_manifest struct prop_manifest m = { 0 };
    const struct prop_descriptor *layer = NULL;
    struct prop_digest digest;
    int rc = open_image(p, oci, &src, &m, &digest, err);

    if (rc == 0)
        rc = prop_manifest_wasm_layer(&m, &layer, err);
    if (rc < 0)
        return rc;
    if (is_encrypted(layer) && !p->encrypted)
        return refuse_encrypted(p, err);
    if (!p->dry_run)
        rc = fetch(src, layer, p->dst, p->force, !is_encrypted(layer), err);
    if (rc < 0)
        return prop_err_wrap(err, "pull '%s'", p->src);
    return describe(p, &digest, layer, ret, err);
}

/* --- a folder of files --- */

/* Below the folder: relative, no empty part, no "." and "..", nothing a terminal would act on. */
static bool stays_inside(const char *title)
{
    const char *part = title;

    if (title[0] == '\0' || strlen(title) > TITLE_MAX)
        return false;
    for (const char *c = title; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '\\')
            return false;
    while (part != NULL) {
        size_t len = strcspn(part, "/");

        if (len == 0 || (len == 1 && part[0] == '.') || (len == 2 && strncmp(part, "..", 2) == 0))
            return false;
        part = part[len] == '/' ? part + len + 1 : NULL;
    }
    return true;
}

/* The file's name below the folder: what is no plain file says so. Owned; NULL when memory is out.
 */
static char *name_of(const struct prop_descriptor *layer, const char *title)
{
    const char *unpack = prop_descriptor_annotation(layer, UNPACK);

    return prop_asprintf("%s%s%s", title,
                         unpack != NULL && strcmp(unpack, "true") == 0 ? ".tar.gz" : "",
                         is_encrypted(layer) ? ".encrypted" : "");
}

/* A folder on the way that is a link would lead elsewhere. */
static bool through_link(const char *folder, const char *name)
{
    prop_auto_free char *path = prop_path_join(folder, name);
    char target[2];

    for (char *c = path != NULL ? path + strlen(folder) + 1 : NULL; c != NULL && *c != '\0'; c++)
        if (*c == '/') {
            bool link;

            *c = '\0';
            link = readlink(path, target, sizeof(target)) >= 0;
            *c = '/';
            if (link)
                return true;
        }
    return false;
}

static int check_file(const struct proppush_pull *p, const struct prop_descriptor *layer,
                      const char *title, json_t *rows, struct prop_err *err)
{
    char digest[PROP_DIGEST_TEXT], shown[200];
    prop_auto_free char *name = name_of(layer, title);
    prop_auto_free char *path = name != NULL ? prop_path_join(p->dst, name) : NULL;
    size_t i;
    json_t *row;

    if (path == NULL)
        return prop_err_nomem(err);
    if (!stays_inside(title) || through_link(p->dst, name))
        return prop_err_set_id(err, PROP_E_DENIED, "path-leaves",
                               "a layer wants to be '%s', which is not below '%s'",
                               prop_printable(title, strlen(title), shown, sizeof(shown)), p->dst);
    if (is_encrypted(layer) && !p->encrypted)
        return refuse_encrypted(p, err);
    if (!p->force && access(path, F_OK) == 0) {
        prop_err_set_id(err, PROP_E_EXISTS, "file-exists", "'%s' exists", path);
        return prop_err_hint(err, "--force replaces it");
    }
    json_array_foreach(rows, i, row)
        if (strcmp(json_string_value(json_object_get(row, "file")), path) == 0)
            return prop_err_set_id(err, PROP_E_INPUT, "same-title",
                                   "two layers have the title '%s'", title);
    row = json_pack("{s:s, s:s, s:s, s:I}", "file", path, "mediaType", layer->media_type, "layer",
                    prop_digest_format(&layer->digest, digest), "size", (json_int_t)layer->size);
    return json_array_append_new(rows, row) < 0 ? prop_err_nomem(err) : 0;
}

static int check_files(const struct proppush_pull *p, const struct prop_manifest *m, json_t *rows,
                       struct prop_err *err)
{
    for (size_t i = 0; i < m->n_layers; i++) {
        const char *title = prop_descriptor_annotation(&m->layers[i], PROP_ANNOTATION_TITLE);
        int rc = title != NULL ? check_file(p, &m->layers[i], title, rows, err) : 0;

        if (rc < 0)
            return rc;
    }
    if (json_array_size(rows) > 0)
        return 0;
    prop_err_set_id(err, PROP_E_INPUT, "no-titles",
                    "no layer of '%s' has a title to be a file under", p->src);
    return prop_err_hint(err, "name a file for its one module, or oci:FOLDER for the whole image");
}

static int make_parent(const char *path, struct prop_err *err)
{
    const char *slash = strrchr(path, '/');
    prop_auto_free char *dir = slash != NULL && slash != path
                                   ? prop_strndup(path, (size_t)(slash - path))
                                   : prop_strdup(".");

    return dir == NULL ? prop_err_nomem(err) : prop_mkdir_p(dir, 0777, err);
}

static int write_files(const struct proppush_pull *p, struct prop_src *src,
                       const struct prop_manifest *m, json_t *rows, struct prop_err *err)
{
    size_t at = 0;

    for (size_t i = 0; i < m->n_layers; i++) {
        const char *path;
        int rc;

        if (prop_descriptor_annotation(&m->layers[i], PROP_ANNOTATION_TITLE) == NULL)
            continue;
        path = json_string_value(json_object_get(json_array_get(rows, at++), "file"));
        rc = make_parent(path, err);
        if (rc == 0)
            rc = fetch(src, &m->layers[i], path, p->force, false, err);
        if (rc < 0)
            return prop_err_wrap(err, "'%s'", path);
    }
    return 0;
}

int proppush_pull_folder(const struct proppush_pull *p, const struct prop_oci_options *oci,
                         json_t **ret, struct prop_err *err)
{
    prop_auto_src struct prop_src *src = NULL;
    prop_auto_manifest struct prop_manifest m = { 0 };
    prop_auto_json json_t *rows = json_array();
    struct prop_digest digest;
    char text[PROP_DIGEST_TEXT];
    json_t *doc;
    int rc = rows == NULL ? prop_err_nomem(err) : open_image(p, oci, &src, &m, &digest, err);

    if (rc == 0)
        rc = check_files(p, &m, rows, err);
    if (rc == 0 && !p->dry_run)
        rc = write_files(p, src, &m, rows, err);
    if (rc < 0)
        return rc == PROP_E_UNSUPPORTED ? rc : prop_err_wrap(err, "pull '%s'", p->src);
    doc = json_pack("{s:s, s:s, s:O}", "source", p->src, "digest",
                    prop_digest_format(&digest, text), "files", rows);
    if (doc == NULL)
        return prop_err_nomem(err);
    if (p->dry_run)
        (void)json_object_set_new(doc, "dry_run", json_true());
    *ret = doc;
    return 0;
}
