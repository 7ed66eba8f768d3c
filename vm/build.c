#include "vm/build.h"

#include "crypto/digest.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/guestconf.h"
#include "vm/guestdir.h"
#include "vm/modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOTS_FILE "/etc/ssl/certs/ca-certificates.crt"
#define ROOTS_MAX (4u << 20)
#define EXTRA_FILE_MAX (16u << 20)

/* The console is for the kernel's last words and for init's end line; a panic or an oops ends the VM. */
static const char base_append[] = "console=ttyS0 quiet loglevel=3 panic=-1 oops=panic";

struct build {
    const struct prop_vm_build *how;
    struct prop_kernel kernel;
    struct prop_initrd image;
    struct prop_buf init_data;  /* the document */
    char init_data_hex[PROP_DIGEST_TEXT]; /* its SHA-384 */
    char *tmp;                  /* folder beside the wanted one */
    uint64_t initrd_bytes;
    const char *name;
};

static size_t count(const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

/* ---- the configuration --------------------------------------------------------------------- */

static int check_how(const struct prop_vm_build *b, struct prop_err *err)
{
    int rc = prop_guest_argv_check(b->argv, count(b->argv), err);

    for (size_t i = 0; rc == 0 && i < count(b->env); i++)
        rc = prop_guest_env_check(b->env[i], err);
    for (size_t i = 0; rc == 0 && i < count(b->host_secrets); i++)
        rc = prop_guest_secret_check(b->host_secrets[i], err);
    if (rc == 0 && b->name)
        rc = prop_guest_name_check(b->name, err);
    if (rc == 0 && b->kbs)
        rc = prop_guest_kbs_check(b->kbs, err);
    if (rc == 0 && b->secrets && b->secrets[0] && b->kbs == NULL)
        rc = prop_err_set_id(err, PROP_E_USAGE, "no-kbs",
                             "a secret comes from the key broker: name it with --kbs");
    return rc;
}

static json_t *list_of(const char *const *texts)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < count(texts); i++)
        if (json_array_append_new(list, json_string(texts[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

/* {"K":"V"} of "K=V" texts; `check` looks at the name, with the '=' cut off. */
static int map_of(const char *const *texts, const char *what,
                  int (*check)(const char *name, struct prop_err *err), json_t **ret,
                  struct prop_err *err)
{
    prop_auto_json json_t *map = json_object();
    int rc = map ? 0 : prop_err_nomem(err);

    for (size_t i = 0; rc == 0 && i < count(texts); i++) {
        size_t len = strcspn(texts[i], "=");
        prop_auto_free char *name = prop_strndup(texts[i], len);
        if (name == NULL)
            return prop_err_nomem(err);
        if (!texts[i][len] || len == 0 || json_object_get(map, name))
            return prop_err_set(err, PROP_E_USAGE, "%s '%s' is no NAME=VALUE, or there twice", what,
                                texts[i]);
        rc = check ? check(name, err) : 0;
        if (rc == 0 && json_object_set_new(map, name, json_string(texts[i] + len + 1)) != 0)
            rc = prop_err_set(err, PROP_E_INPUT, "%s '%s' is no UTF-8 text", what, name);
    }
    if (rc == 0)
        *ret = PROP_TAKE(map);
    return rc;
}

static json_t *network_of(const struct prop_vm_build *b)
{
    const char *one[] = { b->dns, NULL };

    if (b->address == NULL)
        return json_pack("{s:s}", "mode", "dhcp");
    return json_pack("{s:s,s:s,s:s*,s:o}", "mode", "static", "address", b->address, "gateway",
                     b->gateway, "dns", list_of(one));
}

/* The guest's arguments; `run task.json` names a file here, which goes along. */
static int arguments(const struct prop_vm_build *b, json_t **ret, struct prop_buf *task,
                     struct prop_err *err)
{
    prop_auto_json json_t *argv = list_of(b->argv);
    int rc = argv ? 0 : prop_err_nomem(err);

    if (rc == 0 && strcmp(b->argv[0], "run") == 0 && b->argv[1] &&
        prop_ends_with(b->argv[1], ".json")) {
        prop_auto_json json_t *parsed = NULL;
        rc = prop_file_read(b->argv[1], task, err);
        if (rc == 0)
            rc = prop_json_parse(prop_buf_str(task), task->len, b->argv[1], &parsed, err);
        if (rc == 0 && json_array_set_new(argv, 1, json_string(PROP_GUEST_TASK)) != 0)
            rc = prop_err_nomem(err);
    }
    if (rc == 0)
        *ret = PROP_TAKE(argv);
    return rc;
}

static int kbs_of(const struct prop_vm_build *b, json_t **ret, struct prop_err *err)
{
    prop_auto_buf struct prop_buf cert = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    int rc = b->ca_cert ? prop_file_read(b->ca_cert, &cert, err) : 0;

    if (rc == 0 && b->ca_cert && strstr(prop_buf_str(&cert), "-----BEGIN CERTIFICATE-----") == NULL)
        rc = prop_err_set(err, PROP_E_INPUT, "'%s' holds no certificate in PEM", b->ca_cert);
    if (rc == 0 && strstr(prop_buf_str(&cert), "PRIVATE KEY-----") != NULL)
        rc = prop_err_set_id(err, PROP_E_INPUT, "guest-secret",
                             "'%s' holds a private key, and an image holds none", b->ca_cert);
    if (rc == 0 && b->kbs) {
        *ret = json_pack("{s:s,s:s?}", "url", b->kbs, "cert", b->ca_cert ? prop_buf_str(&cert) : NULL);
        rc = *ret ? 0 : prop_err_set(err, PROP_E_INPUT, "the key broker's URL is no UTF-8 text");
    }
    return rc;
}

static int make_init_data(struct build *w, struct prop_err *err)
{
    const struct prop_vm_build *b = w->how;
    prop_auto_buf struct prop_buf task = PROP_BUF_INIT(PROP_LIMIT_TASK_FILE);
    prop_auto_json json_t *argv = NULL;
    prop_auto_json json_t *env = NULL;
    prop_auto_json json_t *secrets = NULL;
    prop_auto_json json_t *kbs = NULL;
    prop_auto_json json_t *net = network_of(b);
    prop_auto_json json_t *conf = NULL;
    struct prop_digest d;
    int rc = net ? 0 : prop_err_nomem(err);

    if (rc == 0)
        rc = arguments(b, &argv, &task, err);
    if (rc == 0)
        rc = map_of(b->env, "the variable", NULL, &env, err);
    if (rc == 0)
        rc = map_of(b->secrets, "the secret", prop_guest_secret_check, &secrets, err);
    if (rc == 0)
        rc = kbs_of(b, &kbs, err);
    if (rc)
        return rc;
    conf = json_pack("{s:i,s:s,s:O*,s:O,s:O,s:O,s:O}", "version", 1, "name", w->name, "kbs", kbs,
                     "argv", argv, "env", env, "secrets", secrets, "network", net);
    if (conf == NULL)
        return prop_err_nomem(err);
    rc = prop_guest_conf_document(conf, task.len ? prop_buf_str(&task) : NULL, &w->init_data, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA384, w->init_data.data, w->init_data.len, &d, err);
    if (rc == 0)
        (void)prop_digest_hex(&d, w->init_data_hex);
    return rc;
}

/* ---- the initramfs ------------------------------------------------------------------------- */

static int add_skeleton(struct build *w, struct prop_err *err)
{
    static const struct { const char *name; unsigned perm; } folders[] = {
        { "dev", 0755 }, { "proc", 0555 }, { "sys", 0555 }, { "run", 0755 }, { "tmp", 01777 },
        { PROP_GUEST_FILES, 0755 },
    };
    static const struct { const char *name, *text; } files[] = {
        { "etc/hosts", "127.0.0.1 localhost\n::1 localhost\n" },
        { "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n" },
        { "etc/passwd", "root:x:0:0:root:/:/\nnobody:x:65534:65534:nobody:/:/\n" },
        { "etc/group", "root:x:0:\nnogroup:x:65534:\n" },
    };
    int rc = prop_initrd_link(&w->image, "etc/resolv.conf", "/run/resolv.conf", err);

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(folders); i++)
        rc = prop_initrd_folder(&w->image, folders[i].name, folders[i].perm, err);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(files); i++)
        rc = prop_initrd_file(&w->image, files[i].name, 0644, files[i].text,
                              strlen(files[i].text), err);
    return rc;
}

static int add_modules(struct build *w, json_t *list, struct prop_err *err)
{
    for (size_t i = 0; i < w->kernel.n_modules; i++) {
        const struct prop_module *m = &w->kernel.modules[i];
        prop_auto_free char *name = prop_asprintf("lib/modules/%s.ko", m->name);
        if (name == NULL ||
            json_array_append_new(list, json_pack("{s:s,s:b}", "file", name, "must", m->must)) != 0)
            return prop_err_nomem(err);
        int rc = prop_initrd_file(&w->image, name, 0644, m->data.data, m->data.len, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int add_extra_files(struct build *w, struct prop_err *err)
{
    for (size_t i = 0; i < count(w->how->files); i++) {
        prop_auto_buf struct prop_buf content = PROP_BUF_INIT(EXTRA_FILE_MAX);
        const char *text = w->how->files[i];
        size_t len = strcspn(text, "=");
        prop_auto_free char *name = prop_asprintf(PROP_GUEST_FILES "/%.*s", (int)len, text);
        if (name == NULL)
            return prop_err_nomem(err);
        if (len == 0 || text[len] != '=' || text[0] == '.' || memchr(text, '/', len))
            return prop_err_set(err, PROP_E_USAGE, "the file '%s' is no NAME=PATH", text);
        int rc = prop_file_read(text + len + 1, &content, err);
        if (rc == 0)
            rc = prop_initrd_file(&w->image, name, 0644, content.data, content.len, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int add_roots(struct build *w, struct prop_err *err)
{
    const char *path = w->how->ca_certificates;
    prop_auto_buf struct prop_buf pem = PROP_BUF_INIT(ROOTS_MAX);

    if (path == NULL && access(ROOTS_FILE, R_OK) == 0)
        path = ROOTS_FILE;
    if (path == NULL || !*path)
        return 0;
    int rc = prop_file_read(path, &pem, err);
    return rc ? rc : prop_initrd_file(&w->image, &ROOTS_FILE[1], 0644, pem.data, pem.len, err);
}

static int add_program(struct build *w, struct prop_err *err)
{
    const char *path = w->how->program ? w->how->program : "/proc/self/exe";
    int rc = prop_initrd_program(&w->image, "init", path, &w->how->search, err);

    for (size_t i = 0; rc == 0 && i < count(w->how->libraries); i++)
        rc = prop_initrd_library(&w->image, w->how->libraries[i], &w->how->search, err);
    return rc;
}

static int add_config(struct build *w, const json_t *modules, struct prop_err *err)
{
    prop_auto_json json_t *host_secrets = list_of(w->how->host_secrets);

    if (host_secrets == NULL)
        return prop_err_nomem(err);
    prop_auto_json json_t *doc =
        json_pack("{s:i,s:s,s:s?,s:b,s:O,s:O}", "version", 1, "tee", w->how->tee, "init_data",
                  w->how->open_init_data ? NULL : w->init_data_hex, "console_result",
                  w->how->console_result, "secrets_from_host", host_secrets, "modules", modules);
    prop_auto_free char *text = doc ? prop_json_sorted(doc) : NULL;
    if (text == NULL)
        return prop_err_nomem(err);
    int rc = prop_initrd_file(&w->image, PROP_GUEST_IMAGE_JSON, 0644, text, strlen(text), err);
    if (rc == 0 && !w->how->open_init_data)
        rc = prop_initrd_file(&w->image, PROP_GUEST_INITDATA, 0644, w->init_data.data,
                             w->init_data.len, err);
    return rc;
}

static int make_initramfs(struct build *w, struct prop_err *err)
{
    prop_auto_json json_t *modules = json_array();
    prop_auto_free char *path = prop_path_join(w->tmp, PROP_GUESTDIR_INITRD);
    int rc = modules && path ? add_skeleton(w, err) : prop_err_nomem(err);

    if (rc == 0)
        rc = add_modules(w, modules, err);
    if (rc == 0)
        rc = add_config(w, modules, err);
    if (rc == 0)
        rc = add_extra_files(w, err);
    if (rc == 0)
        rc = add_roots(w, err);
    if (rc == 0)
        rc = add_program(w, err);
    if (rc == 0)
        rc = prop_initrd_write(&w->image, path, w->how->filter, &w->initrd_bytes, err);
    if (rc == 0 && w->initrd_bytes > PROP_INITRD_MAX)
        rc = prop_err_set_id(err, PROP_E_LIMIT, "image-too-big",
                             "the initramfs is %llu bytes, over %u",
                             (unsigned long long)w->initrd_bytes, PROP_INITRD_MAX);
    return rc;
}

/* ---- the folder ---------------------------------------------------------------------------- */

static json_t *drivers_of(const struct prop_kernel *k)
{
    return json_pack("{s:b,s:b,s:b,s:b,s:b,s:b}", "virtio_net", k->virtio_net, "vsock", k->vsock,
                     "virtio_serial", k->virtio_serial, "fw_cfg", k->fw_cfg, "sev_guest",
                     k->sev_guest, "tdx_guest", k->tdx_guest);
}

static int write_vm_json(struct build *w, struct prop_err *err)
{
    const struct prop_vm_build *b = w->how;
    prop_auto_json json_t *host_secrets = list_of(b->host_secrets);
    prop_auto_json json_t *doc = NULL;
    prop_auto_free char *append = prop_asprintf("%s%s%s", base_append, b->append ? " " : "",
                                                b->append ? b->append : "");

    if (append == NULL || host_secrets == NULL)
        return prop_err_nomem(err);
    doc = json_pack("{s:s,s:s,s:s,s:s,s:o,s:O,s:b,s:b,s:b}", "name", w->name, "append", append,
                    "kernel_release", w->kernel.release, "tee", b->tee, "drivers",
                    drivers_of(&w->kernel), "secrets_from_host", host_secrets, "result_console",
                    b->console_result, "serves", strcmp(b->argv[0], "serve") == 0, "init_data_open",
                    b->open_init_data);
    return doc ? prop_guestdir_write(w->tmp, doc, true, err)
               : prop_err_set(err, PROP_E_INPUT, "--append is no UTF-8 text");
}

static int write_part(const struct build *w, const char *name, const struct prop_buf *data,
                      struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(w->tmp, name);

    return path ? prop_file_write(path, data->data, data->len, 0644, false, err)
                : prop_err_nomem(err);
}

static int fill_folder(struct build *w, struct prop_err *err)
{
    int rc = write_part(w, PROP_GUESTDIR_KERNEL, &w->kernel.image, err);

    if (rc == 0)
        rc = write_part(w, PROP_GUESTDIR_INITDATA, &w->init_data, err);
    if (rc == 0)
        rc = make_initramfs(w, err);
    return rc ? rc : write_vm_json(w, err);
}

/* The four files of a guest, and the folder if nothing else is in it. */
static void remove_guest(const char *dir)
{
    static const char *const files[] = { PROP_GUESTDIR_FILE, PROP_GUESTDIR_INITRD,
                                         PROP_GUESTDIR_KERNEL, PROP_GUESTDIR_INITDATA };

    for (size_t i = 0; i < PROP_ARRAY_LEN(files); i++) {
        prop_auto_free char *path = prop_path_join(dir, files[i]);
        if (path)
            (void)unlink(path);
    }
    (void)rmdir(dir);
}

/* May something be made under that name? A guest only if it is to be replaced, another folder never. */
static int check_place(const struct prop_vm_build *b, struct prop_err *err)
{
    prop_auto_free char *mark = prop_path_join(b->out, PROP_GUESTDIR_FILE);
    struct stat st;

    if (mark == NULL)
        return prop_err_nomem(err);
    if (lstat(b->out, &st) != 0)
        return errno == ENOENT ? 0 : prop_err_sys(err, PROP_E_IO, "'%s'", b->out);
    if (b->force && S_ISDIR(st.st_mode) && access(mark, F_OK) == 0)
        return 0;
    (void)prop_err_set_id(err, PROP_E_EXISTS, "output-exists", "'%s' is already there", b->out);
    return access(mark, F_OK) == 0 ? prop_err_hint(err, "--force replaces a guest")
                                   : prop_err_hint(err, "name a folder that is not there yet");
}

/* "guests/.a.Xy12Za" for "guests/a/": in the same file system, so that a rename is enough. */
static int make_tmp(struct build *w, struct prop_err *err)
{
    size_t len = strlen(w->how->out);

    while (len > 1 && w->how->out[len - 1] == '/')
        len--;
    size_t base = len;
    while (base > 0 && w->how->out[base - 1] != '/')
        base--;
    w->tmp = prop_asprintf("%.*s.%.*s.XXXXXX", (int)base, w->how->out, (int)(len - base),
                           w->how->out + base);
    if (w->tmp == NULL)
        return prop_err_nomem(err);
    if (mkdtemp(w->tmp) == NULL) {
        int saved = errno;
        prop_free(w->tmp);
        w->tmp = NULL;
        errno = saved;
        return prop_err_sys(err, PROP_E_IO, "make a folder beside '%s'", w->how->out);
    }
    return chmod(w->tmp, 0755) == 0 ? 0 : prop_err_sys(err, PROP_E_IO, "'%s'", w->tmp);
}

/* Put the finished folder under its name; what stood there is gone only afterwards. */
static int move_in_place(struct build *w, struct prop_err *err)
{
    if (rename(w->tmp, w->how->out) == 0) {
        prop_free(PROP_TAKE(w->tmp));
        return 0;
    }
    if (!w->how->force || (errno != ENOTEMPTY && errno != EEXIST))
        return prop_err_sys(err, errno == EEXIST || errno == ENOTEMPTY ? PROP_E_EXISTS : PROP_E_IO,
                            "make '%s'", w->how->out);
    if (renameat2(AT_FDCWD, w->tmp, AT_FDCWD, w->how->out, RENAME_EXCHANGE) != 0)
        return prop_err_sys(err, PROP_E_IO, "replace '%s'", w->how->out);
    return 0; /* the old one has the temporary name now, and goes with it */
}

/* ---- all of it ----------------------------------------------------------------------------- */

static json_t *report_of(const struct build *w)
{
    prop_auto_json json_t *modules = json_array();
    prop_auto_json json_t *files = json_array();

    for (size_t i = 0; modules && i < w->kernel.n_modules; i++)
        (void)json_array_append_new(modules, json_string(w->kernel.modules[i].name));
    for (size_t i = 0; files && i < w->image.n; i++)
        if (S_ISREG(w->image.entries[i].mode))
            (void)json_array_append_new(
                files, json_pack("{s:s,s:I}", "name", w->image.entries[i].name, "bytes",
                                 (json_int_t)w->image.entries[i].data.len));
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:O,s:o,s:O,s:I,s:I,s:s,s:b}", "guest", w->how->out,
                     "name", w->name, "tee", w->how->tee, "kernel", w->kernel.source,
                     "kernel_release", w->kernel.release, "modules", modules, "drivers",
                     drivers_of(&w->kernel), "files", files, "kernel_bytes",
                     (json_int_t)w->kernel.image.len, "initrd_bytes", (json_int_t)w->initrd_bytes,
                     "init_data_sha384", w->init_data_hex, "init_data_open",
                     w->how->open_init_data);
}

static int build(struct build *w, struct prop_err *err)
{
    int rc = check_how(w->how, err);

    if (rc == 0)
        rc = check_place(w->how, err);
    if (rc == 0)
        rc = make_init_data(w, err);
    if (rc == 0)
        rc = prop_kernel_load(&w->how->kernel, &w->kernel, err);
    if (rc == 0)
        rc = prop_kernel_check_tee(&w->kernel, w->how->tee, err);
    if (rc == 0 && strcmp(w->how->argv[0], "serve") != 0 && !w->how->open_init_data)
        prop_modules_drop_power(&w->kernel);
    if (rc == 0)
        rc = make_tmp(w, err);
    if (rc == 0)
        rc = fill_folder(w, err);
    return rc ? rc : move_in_place(w, err);
}

int prop_vm_build(const struct prop_vm_build *b, json_t **ret_report, struct prop_err *err)
{
    struct build w = {.how = b,
                      .kernel = PROP_KERNEL_INIT,
                      .image = PROP_INITRD_INIT,
                      .init_data = PROP_BUF_INIT(PROP_INITDATA_MAX),
                      .name = b->name ? b->name : "propcvm"};
    json_t *report = NULL;
    int rc = build(&w, err);

    if (rc == 0) {
        report = report_of(&w);
        rc = report ? 0 : prop_err_nomem(err);
    }
    if (w.tmp)
        remove_guest(w.tmp);
    prop_free(w.tmp);
    prop_kernel_release(&w.kernel);
    prop_initrd_release(&w.image);
    prop_buf_release(&w.init_data);
    if (rc == 0)
        *ret_report = report;
    return rc;
}
