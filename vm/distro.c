/* A distro folder read back: DIR/distro.json names the disk, the seed and the image under the disk. */
#include "vm/distro.h"

#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"
#include "vm/guestdir.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1

struct names {
    json_int_t version;
    const char *disk, *seed, *seed_digest, *image, *name, *tee;
    bool ssh;
};

static const struct prop_json_field fields[] = {
    { "version", PROP_JSON_INT, offsetof(struct names, version), PROP_JSON_REQUIRED },
    { "disk", PROP_JSON_STRING, offsetof(struct names, disk), PROP_JSON_REQUIRED },
    { "seed", PROP_JSON_STRING, offsetof(struct names, seed), PROP_JSON_REQUIRED },
    { "seed_digest", PROP_JSON_STRING, offsetof(struct names, seed_digest), PROP_JSON_REQUIRED },
    { "image", PROP_JSON_STRING, offsetof(struct names, image), PROP_JSON_REQUIRED },
    { "name", PROP_JSON_STRING, offsetof(struct names, name), PROP_JSON_REQUIRED },
    { "tee", PROP_JSON_STRING, offsetof(struct names, tee), PROP_JSON_REQUIRED },
    { "ssh", PROP_JSON_BOOL, offsetof(struct names, ssh), PROP_JSON_REQUIRED },
};

bool prop_distro_is(const char *dir)
{
    prop_auto_free char *path = prop_path_join(dir, PROP_DISTRO_FILE);

    return path && access(path, F_OK) == 0;
}

static int check_files(const struct prop_distro *d, const struct names *n, struct prop_err *err)
{
    char got[72];
    int rc = prop_guestdir_digest(d->seed, got, err);

    if (rc)
        return rc;
    if (strcmp(got, n->seed_digest) != 0) {
        (void)prop_err_set_id(err, PROP_E_VERIFY, "guest-changed",
                              "'%s' is not the seed that was built", d->seed);
        return prop_err_hint(err, "build it again: vm build --distro-image --force");
    }
    if (access(d->disk, R_OK | W_OK))
        return prop_err_sys(err, PROP_E_IO, "open '%s'", d->disk);
    if (access(n->image, R_OK)) {
        (void)prop_err_sys(err, PROP_E_NOTFOUND, "the image under the disk, '%s'", n->image);
        err->id = "no-image";
        return err->code;
    }
    return 0;
}

int prop_distro_open(const char *dir, struct prop_distro *ret, struct prop_err *err)
{
    struct prop_distro d = PROP_DISTRO_INIT;
    struct names n = { .version = 0 };
    prop_auto_free char *path = prop_path_join(dir, PROP_DISTRO_FILE);
    int rc = path ? prop_json_parse_file(path, PROP_LIMIT_TASK_FILE, &d.json, err) :
                    prop_err_nomem(err);

    if (rc == 0)
        rc = prop_json_read(d.json, path, fields, PROP_ARRAY_LEN(fields), &n, err);
    if (rc == 0 && n.version != VERSION)
        rc = prop_err_set(err, PROP_E_UNSUPPORTED, "'%s' is of another version", path);
    if (rc == 0 && (strchr(n.disk, '/') || strchr(n.seed, '/') || n.image[0] != '/'))
        rc = prop_err_set(err, PROP_E_INPUT, "'%s': files must be named plainly", path);
    if (rc == PROP_E_INPUT)
        err->id = "bad-guest";
    if (rc == 0)
        rc = prop_guest_name_check(n.name, err);
    if (rc == 0) {
        d.disk = prop_path_join(dir, n.disk);
        d.seed = prop_path_join(dir, n.seed);
        d.name = n.name;
        d.tee = n.tee;
        d.ssh = n.ssh;
        rc = d.disk && d.seed ? check_files(&d, &n, err) : prop_err_nomem(err);
    }
    if (rc)
        prop_distro_release(&d);
    else
        *ret = d;
    return rc;
}

void prop_distro_release(struct prop_distro *d)
{
    json_decref(d->json);
    prop_free(d->disk);
    prop_free(d->seed);
    *d = (struct prop_distro)PROP_DISTRO_INIT;
}
