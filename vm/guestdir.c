/* vm.json: written last by `vm build`, checked against its files before anything is booted or measured. */
#include "vm/guestdir.h"

#include "crypto/digest.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/limits.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION 1
#define PIECE (256u << 10)

int prop_guest_name_check(const char *name, struct prop_err *err)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

    if (n == 0 || name[n] || n > PROP_GUEST_NAME_MAX || name[0] == '-')
        return prop_err_set_id(err, PROP_E_USAGE, "bad-name",
                               "'%s' is no name for a guest: a-z, 0-9 and '-', at most %d", name,
                               PROP_GUEST_NAME_MAX);
    return 0;
}

int prop_guestdir_digest(const char *path, char ret[72], struct prop_err *err)
{
    prop_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    prop_auto_hash struct prop_hash *h = NULL;
    prop_auto_free uint8_t *piece = prop_alloc_pages(PIECE);
    struct prop_digest d;
    char text[PROP_DIGEST_TEXT];

    if (piece == NULL)
        return prop_err_nomem(err);
    if (fd < 0)
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "open '%s'", path);
    int rc = prop_hash_new(PROP_SHA256, &h, err);
    while (rc == 0) {
        ssize_t n = read(fd, piece, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return prop_err_sys(err, PROP_E_IO, "read '%s'", path);
        if (n == 0)
            break;
        rc = prop_hash_update(h, piece, (size_t)n, err);
    }
    if (rc == 0)
        rc = prop_hash_final(h, &d, err);
    if (rc == 0)
        (void)snprintf(ret, 72, "%s", prop_digest_format(&d, text));
    return rc;
}

/* ---- reading ------------------------------------------------------------------------------- */

struct names {
    json_int_t version;
    const char *kernel, *initrd, *init_data;
    json_t *drivers, *digests, *result, *secrets;
    const char *sha_kernel, *sha_initrd;
    json_t *sha_init_data;
    const char *sha256, *sha384;
};

static int bad(struct prop_err *err, const char *what, const char *why)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-guest", "'%s': %s", what, why);
}

static int read_members(struct prop_guestdir *g, const char *what, struct names *n,
                        struct prop_err *err)
{
    static const struct prop_json_field of_guest[] = {
        { "name", PROP_JSON_STRING, offsetof(struct prop_guestdir, name), PROP_JSON_REQUIRED },
        { "append", PROP_JSON_STRING, offsetof(struct prop_guestdir, append), PROP_JSON_REQUIRED },
        { "kernel_release", PROP_JSON_STRING, offsetof(struct prop_guestdir, kernel_release),
          PROP_JSON_REQUIRED },
        { "tee", PROP_JSON_STRING, offsetof(struct prop_guestdir, tee), PROP_JSON_REQUIRED },
        { "serves", PROP_JSON_BOOL, offsetof(struct prop_guestdir, serves), 0 },
        { "result_console", PROP_JSON_BOOL, offsetof(struct prop_guestdir, result_console), 0 },
    };
    static const struct prop_json_field of_names[] = {
        { "version", PROP_JSON_INT, offsetof(struct names, version), PROP_JSON_REQUIRED },
        { "kernel", PROP_JSON_STRING, offsetof(struct names, kernel), PROP_JSON_REQUIRED },
        { "initrd", PROP_JSON_STRING, offsetof(struct names, initrd), PROP_JSON_REQUIRED },
        { "init_data", PROP_JSON_STRING, offsetof(struct names, init_data), PROP_JSON_NULLABLE },
        { "drivers", PROP_JSON_OBJECT, offsetof(struct names, drivers), PROP_JSON_REQUIRED },
        { "digests", PROP_JSON_OBJECT, offsetof(struct names, digests), PROP_JSON_REQUIRED },
        { "secrets_from_host", PROP_JSON_ARRAY, offsetof(struct names, secrets), 0 },
    };
    static const struct prop_json_field of_digests[] = {
        { "kernel", PROP_JSON_STRING, offsetof(struct names, sha_kernel), PROP_JSON_REQUIRED },
        { "initrd", PROP_JSON_STRING, offsetof(struct names, sha_initrd), PROP_JSON_REQUIRED },
        { "init_data", PROP_JSON_OBJECT, offsetof(struct names, sha_init_data),
          PROP_JSON_NULLABLE },
    };
    static const struct prop_json_field of_init_data[] = {
        { "sha256", PROP_JSON_STRING, offsetof(struct names, sha256), PROP_JSON_REQUIRED },
        { "sha384", PROP_JSON_STRING, offsetof(struct names, sha384), PROP_JSON_REQUIRED },
    };
    static const struct prop_json_field of_drivers[] = {
        { "virtio_net", PROP_JSON_BOOL, offsetof(struct prop_guestdir, virtio_net), 0 },
        { "vsock", PROP_JSON_BOOL, offsetof(struct prop_guestdir, vsock), 0 },
        { "virtio_serial", PROP_JSON_BOOL, offsetof(struct prop_guestdir, virtio_serial), 0 },
        { "fw_cfg", PROP_JSON_BOOL, offsetof(struct prop_guestdir, fw_cfg), 0 },
        { "sev_guest", PROP_JSON_BOOL, offsetof(struct prop_guestdir, sev_guest), 0 },
        { "tdx_guest", PROP_JSON_BOOL, offsetof(struct prop_guestdir, tdx_guest), 0 },
    };
    int rc = prop_json_read(g->json, what, of_names, PROP_ARRAY_LEN(of_names), n, err);

    if (rc == 0 && n->version != VERSION)
        return prop_err_set(err, PROP_E_UNSUPPORTED, "'%s' is of version %lld, this tool reads %d",
                            what, (long long)n->version, VERSION);
    if (rc == 0)
        rc = prop_json_read(g->json, what, of_guest, PROP_ARRAY_LEN(of_guest), g, err);
    if (rc == 0)
        rc = prop_json_read(n->digests, what, of_digests, PROP_ARRAY_LEN(of_digests), n, err);
    if (rc == 0)
        rc = prop_json_read(n->drivers, what, of_drivers, PROP_ARRAY_LEN(of_drivers), g, err);
    if (rc == 0 && n->init_data && n->sha_init_data == NULL)
        rc = bad(err, what, "init-data without its digests");
    if (rc == 0 && n->init_data)
        rc = prop_json_read(n->sha_init_data, what, of_init_data, PROP_ARRAY_LEN(of_init_data), n,
                            err);
    g->secrets_from_host = n->secrets;
    return rc;
}

/* A file beside vm.json: its path, and whether it is the one that was built. */
static int take_file(const char *dir, const char *what, const char *name, const char *digest,
                     char **ret, struct prop_err *err)
{
    char got[72];

    if (!*name || name[0] == '.' || strchr(name, '/'))
        return bad(err, what, "a file name that is none");
    *ret = prop_path_join(dir, name);
    if (*ret == NULL)
        return prop_err_nomem(err);
    int rc = prop_guestdir_digest(*ret, got, err);
    if (rc)
        return rc;
    if (strcmp(got, digest) != 0) {
        (void)prop_err_set_id(err, PROP_E_VERIFY, "guest-changed",
                              "'%s' is not the file that was built: %s, expected %s", *ret, got,
                              digest);
        return prop_err_hint(err, "build the guest again; what it measures to will differ");
    }
    return 0;
}

static int take_init_data(struct prop_guestdir *g, const char *what, const struct names *n,
                          struct prop_err *err)
{
    prop_auto_free char *sha256 = NULL;
    int rc;

    if (strlen(n->sha256) != 64 || strlen(n->sha384) != 96 ||
        prop_hex_decode(n->sha256, 64, g->init_data_sha256, 32) != 0 ||
        prop_hex_decode(n->sha384, 96, g->init_data_sha384, 48) != 0)
        return bad(err, what, "the digests of the init-data are malformed");
    sha256 = prop_asprintf("sha256:%s", n->sha256);
    if (sha256 == NULL)
        return prop_err_nomem(err);
    rc = take_file(g->dir, what, n->init_data, sha256, &g->init_data, err);
    if (rc)
        return rc;
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_INITDATA_MAX);
    struct prop_digest d;
    rc = prop_file_read(g->init_data, &text, err);
    if (rc == 0)
        rc = prop_digest_of(PROP_SHA384, text.data, text.len, &d, err);
    if (rc == 0 && memcmp(d.bytes, g->init_data_sha384, 48) != 0)
        rc = prop_err_set_id(err, PROP_E_VERIFY, "guest-changed",
                             "'%s' has another SHA-384 than '%s' says", g->init_data, what);
    return rc;
}

static int read_guest(const char *path, struct prop_guestdir *g, struct prop_err *err)
{
    struct names n = {.version = 0};
    int rc = prop_json_parse_file(path, PROP_LIMIT_CONFIG, &g->json, err);

    if (rc == PROP_E_NOTFOUND) {
        (void)prop_err_set_id(err, PROP_E_NOTFOUND, "no-guest", "there is no guest in '%s'", g->dir);
        return prop_err_hint(err, "make one: propcvm vm build -o %s", g->dir);
    }
    if (rc == 0)
        rc = read_members(g, path, &n, err);
    if (rc == PROP_E_INPUT && err && err->id == NULL)
        err->id = "bad-guest";
    if (rc == 0 && prop_guest_name_check(g->name, NULL) != 0)
        rc = bad(err, path, "the guest's name is malformed");
    if (rc == 0)
        rc = take_file(g->dir, path, n.kernel, n.sha_kernel, &g->kernel, err);
    if (rc == 0)
        rc = take_file(g->dir, path, n.initrd, n.sha_initrd, &g->initrd, err);
    if (rc == 0 && n.init_data)
        rc = take_init_data(g, path, &n, err);
    return rc;
}

int prop_guestdir_open(const char *dir, struct prop_guestdir *ret, struct prop_err *err)
{
    struct prop_guestdir g = {.json = NULL};
    prop_auto_free char *path = prop_path_join(dir, PROP_GUESTDIR_FILE);
    int rc = 0;

    g.dir = prop_strdup(dir);
    if (path == NULL || g.dir == NULL)
        rc = prop_err_nomem(err);
    if (rc == 0)
        rc = read_guest(path, &g, err);
    if (rc)
        prop_guestdir_release(&g);
    else
        *ret = g;
    return rc;
}

void prop_guestdir_release(struct prop_guestdir *g)
{
    json_decref(g->json);
    prop_free(g->dir);
    prop_free(g->kernel);
    prop_free(g->initrd);
    prop_free(g->init_data);
    *g = (struct prop_guestdir)PROP_GUESTDIR_INIT;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int digest_into(json_t *digests, const char *member, const char *dir, const char *name,
                       struct prop_err *err)
{
    prop_auto_free char *path = prop_path_join(dir, name);
    char text[72];

    if (path == NULL)
        return prop_err_nomem(err);
    int rc = prop_guestdir_digest(path, text, err);
    if (rc == 0 && json_object_set_new(digests, member, json_string(text)) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

static int init_data_digests(json_t *digests, const char *dir, struct prop_err *err)
{
    static const enum prop_hash_alg algs[] = { PROP_SHA256, PROP_SHA384 };
    prop_auto_free char *path = prop_path_join(dir, PROP_GUESTDIR_INITDATA);
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_INITDATA_MAX);
    prop_auto_json json_t *both = json_object();
    struct prop_digest d;
    char hex[PROP_DIGEST_TEXT];

    if (path == NULL || both == NULL)
        return prop_err_nomem(err);
    int rc = prop_file_read(path, &text, err);
    for (size_t i = 0; rc == 0 && i < PROP_ARRAY_LEN(algs); i++) {
        rc = prop_digest_of(algs[i], text.data, text.len, &d, err);
        if (rc == 0 && json_object_set_new(both, prop_hash_name(algs[i]),
                                           json_string(prop_digest_hex(&d, hex))) != 0)
            rc = prop_err_nomem(err);
    }
    if (rc == 0 && json_object_set(digests, "init_data", both) != 0)
        rc = prop_err_nomem(err);
    return rc;
}

int prop_guestdir_write(const char *dir, const json_t *doc, bool init_data, struct prop_err *err)
{
    prop_auto_json json_t *digests = json_object();
    prop_auto_json json_t *whole = json_deep_copy(doc);
    prop_auto_json json_t *names = NULL;
    prop_auto_free char *path = prop_path_join(dir, PROP_GUESTDIR_FILE);
    prop_auto_free char *text = NULL;
    prop_auto_free char *line = NULL;

    if (digests == NULL || whole == NULL || path == NULL)
        return prop_err_nomem(err);
    int rc = digest_into(digests, "kernel", dir, PROP_GUESTDIR_KERNEL, err);
    if (rc == 0)
        rc = digest_into(digests, "initrd", dir, PROP_GUESTDIR_INITRD, err);
    if (rc == 0 && init_data)
        rc = init_data_digests(digests, dir, err);
    if (rc)
        return rc;
    names = json_pack("{s:i,s:s,s:s,s:s?,s:O}", "version", VERSION, "kernel", PROP_GUESTDIR_KERNEL,
                      "initrd", PROP_GUESTDIR_INITRD, "init_data",
                      init_data ? PROP_GUESTDIR_INITDATA : NULL, "digests", digests);
    if (names == NULL || json_object_update(whole, names) != 0)
        return prop_err_nomem(err);
    text = prop_json_sorted(whole);
    line = text ? prop_asprintf("%s\n", text) : NULL;
    if (line == NULL)
        return prop_err_nomem(err);
    return prop_file_write(path, line, strlen(line), 0644, true, err);
}
