/* `vm build --distro-image`: the folder is made beside the wanted one and renamed, whole or not there. */
#include "vm/distro.h"

#include "archive/iso.h"
#include "crypto/random.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "vm/distro_seed.h"
#include "vm/guestdir.h"
#include "vm/initramfs.h"
#include "vm/qcow2.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_DEFAULT "propeller-cvm"
#define PROGRAM_CPIO "propcvm.cpio"
#define CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define ROOT_MAX (512u << 20) /* the program with its libraries */

/* ---- the folder ----------------------------------------------------------------------------- */

static const char *const made[] = { PROP_DISTRO_DISK, PROP_DISTRO_SEED, PROP_DISTRO_FILE,
                                    PROGRAM_CPIO };

/* Only what this makes; a folder with anything else in it stays. */
static void remove_folder(const char *dir)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(made); i++) {
        prop_auto_free char *path = prop_path_join(dir, made[i]);
        if (path)
            (void)unlink(path);
    }
    (void)rmdir(dir);
}

/* Nothing in it that somebody else put there. */
static bool holds_only_made(const char *dir)
{
    DIR *d = opendir(dir);
    bool only = d != NULL;

    for (struct dirent *e; only && (e = readdir(d)) != NULL;) {
        only = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        for (size_t i = 0; !only && i < PROP_ARRAY_LEN(made); i++)
            only = strcmp(e->d_name, made[i]) == 0;
    }
    if (d)
        (void)closedir(d);
    return only;
}

static int check_out(const struct prop_distro_build *b, struct prop_err *err)
{
    if (access(b->out, F_OK))
        return 0;
    if (b->force && prop_distro_is(b->out) && holds_only_made(b->out))
        return 0;
    (void)prop_err_set_id(err, PROP_E_EXISTS, "output-exists", "'%s' is there already", b->out);
    return prop_err_hint(err, !b->force && prop_distro_is(b->out) ?
                                  "--force replaces the guest, and what its disk holds is lost" :
                                  "name another folder");
}

static int put_in_place(const struct prop_distro_build *b, const char *temp, struct prop_err *err)
{
    /* Whole at each moment: the old guest gets the other name, and goes with it. */
    if (b->force && renameat2(AT_FDCWD, temp, AT_FDCWD, b->out, RENAME_EXCHANGE) == 0) {
        remove_folder(temp);
        return 0;
    }
    if (rename(temp, b->out))
        return prop_err_sys(err, errno == EEXIST || errno == ENOTEMPTY ? PROP_E_EXISTS : PROP_E_IO,
                            "make '%s'", b->out);
    return 0;
}

/* ---- what is in it -------------------------------------------------------------------------- */

static int add_copy(struct prop_initrd *root, const char *name, const char *path, struct prop_err *err)
{
    prop_auto_buf struct prop_buf data = PROP_BUF_INIT(PROP_LIMIT_POLICY);
    int rc = prop_file_read(path, &data, err);

    return rc ? rc : prop_initrd_file(root, name, 0644, data.data, data.len, err);
}

/* A root folder with the program, its libraries, roots for registries, the key broker's certificate. */
static int program_root(const struct prop_distro_build *b, const char *path, struct prop_err *err)
{
    static const char *const folders[] = { "proc", "sys", "dev", "run", "tmp", "var/tmp", "etc/propcvm" };
    static const struct prop_initrd_search search = { NULL, "" };
    prop_auto_initrd struct prop_initrd root = PROP_INITRD_INIT;
    int rc = prop_initrd_program(&root, "usr/bin/propcvm", b->program ? b->program : "/proc/self/exe",
                                 &search, err);

    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(folders); i++)
        rc = prop_initrd_folder(&root, folders[i], 0755, err);
    if (rc == 0 && access(CA_BUNDLE, R_OK) == 0)
        rc = add_copy(&root, CA_BUNDLE + 1, CA_BUNDLE, err);
    /* Where bind mounts of the unit go. */
    if (rc == 0)
        rc = prop_initrd_file(&root, "etc/resolv.conf", 0644, "", 0, err);
    if (rc == 0)
        rc = prop_initrd_file(&root, "etc/hosts", 0644, "", 0, err);
    if (rc == 0 && b->ca_cert)
        rc = add_copy(&root, "etc/propcvm/kbs.pem", b->ca_cert, err);
    return rc ? rc : prop_initrd_write(&root, path, PROP_CPIO_PLAIN, NULL, err);
}

static int seed(const struct prop_distro_build *b, const char *dir, const char *name,
                const char *instance, struct prop_err *err)
{
    prop_auto_buf struct prop_buf key = PROP_BUF_INIT(PROP_LIMIT_KEY_FILE);
    prop_auto_buf struct prop_buf user = PROP_BUF_INIT(PROP_SEED_TEXT_MAX);
    prop_auto_buf struct prop_buf meta = PROP_BUF_INIT(PROP_SEED_TEXT_MAX);
    prop_auto_buf struct prop_buf root = PROP_BUF_INIT(ROOT_MAX);
    prop_auto_free char *cpio = prop_path_join(dir, PROGRAM_CPIO);
    prop_auto_free char *iso = prop_path_join(dir, PROP_DISTRO_SEED);
    int rc = cpio && iso ? 0 : prop_err_nomem(err);

    if (rc == 0 && b->ssh_key)
        rc = prop_seed_ssh_key(b->ssh_key, &key, err);
    if (rc == 0)
        rc = prop_seed_user_data(b, prop_buf_str(&key), &user, err);
    if (rc == 0)
        rc = prop_seed_meta_data(name, instance, &meta, err);
    if (rc == 0)
        rc = program_root(b, cpio, err);
    if (rc == 0)
        rc = prop_file_read(cpio, &root, err);
    if (rc)
        return rc;
    const struct prop_iso_file files[] = { { "user-data", user.data, user.len },
                                           { "meta-data", meta.data, meta.len },
                                           { PROGRAM_CPIO, root.data, root.len } };
    rc = prop_iso_write(iso, "CIDATA", files, PROP_ARRAY_LEN(files), err);
    (void)unlink(cpio);
    return rc;
}

static int overlay(const struct prop_distro_build *b, const char *dir, char **ret_image,
                   uint64_t *ret_size, struct prop_err *err)
{
    struct prop_disk_image image;
    prop_auto_free char *disk = prop_path_join(dir, PROP_DISTRO_DISK);
    char real[4096];
    int rc = disk ? prop_disk_image_look(b->image, &image, err) : prop_err_nomem(err);

    if (rc)
        return rc;
    if (!realpath(b->image, real))
        return prop_err_sys(err, PROP_E_IO, "find '%s'", b->image);
    uint64_t size = b->disk_bytes ? b->disk_bytes : PROP_DISTRO_DISK_DEFAULT;
    if (!b->disk_bytes && size < image.size)
        size = image.size;
    rc = prop_qcow2_overlay(disk, real, &image, size, err);
    if (rc == 0) {
        *ret_size = size;
        *ret_image = prop_strdup(real);
    }
    return rc || *ret_image ? rc : prop_err_nomem(err);
}

static int write_description(const char *dir, const json_t *doc, struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(dir, PROP_DISTRO_FILE);
    prop_auto_free char *text = prop_json_compact(doc);

    if (!path || !text)
        return prop_err_nomem(err);
    return prop_file_write(path, text, strlen(text), 0600, false, err);
}

static int fill(const struct prop_distro_build *b, const char *dir, json_t **ret_report,
                struct prop_err *err)
{
    const char *name = b->name ? b->name : NAME_DEFAULT;
    prop_auto_free char *image = NULL;
    prop_auto_free char *iso = prop_path_join(dir, PROP_DISTRO_SEED);
    char digest[72], hex[17], instance[PROP_SEED_INSTANCE + 64];
    uint8_t fresh[8];
    uint64_t size = 0;
    int rc = prop_guest_name_check(name, err);

    /* A new one each time: with the old one, cloud-init would take the new seed for done already. */
    prop_random(fresh, sizeof fresh);
    prop_hex_encode(fresh, sizeof fresh, hex);
    (void)snprintf(instance, sizeof instance, "iid-%.63s-%s", name, hex);
    if (rc == 0)
        rc = overlay(b, dir, &image, &size, err);
    if (rc == 0)
        rc = seed(b, dir, name, instance, err);
    if (rc == 0)
        rc = iso ? prop_guestdir_digest(iso, digest, err) : prop_err_nomem(err);
    if (rc)
        return rc;
    prop_auto_json json_t *doc = json_pack(
        "{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b}", "version", 1, "kind", "distro", "name", name, "image",
        image, "disk", PROP_DISTRO_DISK, "seed", PROP_DISTRO_SEED, "seed_digest", digest, "tee",
        b->tee, "ssh", b->ssh_key != NULL);
    rc = doc ? write_description(dir, doc, err) : prop_err_nomem(err);
    if (rc)
        return rc;
    *ret_report = json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:b}", "guest", b->out, "kind", "distro", "name",
                            name, "image", image, "disk_bytes", (json_int_t)size, "seed_digest", digest,
                            "instance_id", instance, "ssh", b->ssh_key != NULL);
    return *ret_report ? 0 : prop_err_nomem(err);
}

int prop_distro_build(const struct prop_distro_build *b, json_t **ret_report, struct prop_err *err)
{
    prop_auto_json json_t *report = NULL;
    prop_auto_free char *temp = prop_asprintf("%s.new-%d", b->out, (int)getpid());
    int rc = temp ? check_out(b, err) : prop_err_nomem(err);

    if (rc)
        return rc;
    if (mkdir(temp, 0700))
        return prop_err_sys(err, PROP_E_IO, "make '%s'", temp);
    rc = fill(b, temp, &report, err);
    if (rc == 0)
        rc = put_in_place(b, temp, err);
    if (rc)
        remove_folder(temp);
    else
        *ret_report = PROP_TAKE(report);
    return rc;
}
