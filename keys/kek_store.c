/* The folder of generated KEKs. A file is never replaced: its name is its content's fingerprint. */
#include "keys/kek_store.h"

#include "keys/keyfile.h"
#include "util/file.h"
#include "util/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FINGERPRINT_DIGITS 16

static int open_folder(char **ret, struct prop_err *err)
{
    prop_auto_free char *data = NULL;
    prop_auto_free char *dir = NULL;
    struct stat st;

    int rc = prop_xdg_dir(PROP_XDG_DATA, &data, err);
    if (rc)
        return rc;
    dir = prop_path_join(data, "keys");
    if (!dir)
        return prop_err_nomem(err);
    rc = prop_mkdir_p(dir, 0700, err);
    if (rc)
        return rc;
    if (stat(dir, &st) != 0)
        return prop_err_sys(err, PROP_E_IO, "key folder '%s'", dir);
    if (st.st_mode & 022) { /* somebody else could put another key under a known name */
        rc = prop_err_set_id(err, PROP_E_DENIED, "key-folder-mode",
                             "others can write to the key folder '%s'", dir);
        (void)prop_err_hint(err, "chmod 700 '%s'", dir);
        return rc;
    }
    *ret = PROP_TAKE(dir);
    return 0;
}

/* The path of a KEK's file, in a folder that is there. */
static int path_of(const char *fingerprint, char **ret, struct prop_err *err)
{
    prop_auto_free char *dir = NULL;
    int rc = open_folder(&dir, err);
    if (rc)
        return rc;
    char *path = prop_asprintf("%s/kek-%s.bin", dir, fingerprint);
    if (!path)
        return prop_err_nomem(err);
    *ret = path;
    return 0;
}

static int other_content(const char *path, enum prop_code code, struct prop_err *err)
{
    int rc = prop_err_set_id(err, code, "kek-store", "'%s' does not hold the KEK it is named after",
                             path);
    (void)prop_err_hint(err, "move the file away; it was damaged or put there by hand");
    return rc;
}

/* The file is there: it must hold just this KEK. */
static int compare_kept(const char *path, const struct prop_secret *kek, struct prop_err *err)
{
    prop_auto_secret struct prop_secret *there = NULL;
    int rc = prop_file_read_secret(path, prop_secret_len(kek), PROP_SECRET_FILE_PRIVATE, &there,
                                   err);
    if (rc == PROP_E_LIMIT || (rc == 0 && !prop_secret_equal(there, kek)))
        return other_content(path, PROP_E_EXISTS, err);
    return rc;
}

int prop_kek_store_new(const struct prop_secret *kek, char **ret_path, struct prop_err *err)
{
    char fingerprint[FINGERPRINT_DIGITS + 1];
    prop_auto_free char *path = NULL;

    int rc = prop_kek_fingerprint(kek, fingerprint, err);
    if (rc == 0)
        rc = path_of(fingerprint, &path, err);
    if (rc)
        return rc;
    struct prop_err e = PROP_ERR_INIT; /* being there already is no failure */
    rc = prop_file_write(path, prop_secret_data(kek), prop_secret_len(kek), 0600, false, &e);
    if (rc == PROP_E_EXISTS)
        rc = compare_kept(path, kek, &e);
    if (rc) {
        if (err)
            *err = e;
        return rc;
    }
    if (ret_path)
        *ret_path = PROP_TAKE(path);
    return 0;
}

static bool is_fingerprint(const char *text)
{
    return strlen(text) == FINGERPRINT_DIGITS &&
           strspn(text, "0123456789abcdef") == FINGERPRINT_DIGITS;
}

static int bad_fingerprint(const char *text, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_INPUT, "bad-fingerprint",
                           "'%.40s' is not a KEK fingerprint (16 hex digits)", text);
}

static int not_kept(const char *fingerprint, const char *path, struct prop_err *err)
{
    return prop_err_set_id(err, PROP_E_NOTFOUND, "kek-not-kept",
                           "no KEK with fingerprint %s is kept here ('%s')", fingerprint, path);
}

int prop_kek_store_find(const char *fingerprint, struct prop_secret **ret_kek,
                        struct prop_err *err)
{
    char found[FINGERPRINT_DIGITS + 1];
    prop_auto_free char *path = NULL;
    prop_auto_secret struct prop_secret *bytes = NULL;
    prop_auto_secret struct prop_secret *kek = NULL;

    if (!is_fingerprint(fingerprint)) /* it becomes a file name */
        return bad_fingerprint(fingerprint, err);
    int rc = path_of(fingerprint, &path, err);
    if (rc)
        return rc;
    rc = prop_file_read_secret(path, 1024, PROP_SECRET_FILE_PRIVATE, &bytes, err);
    if (rc == PROP_E_NOTFOUND)
        return not_kept(fingerprint, path, err);
    if (rc)
        return rc;
    if (prop_kek_from_bytes(bytes, path, &kek, NULL) != 0)
        return other_content(path, PROP_E_VERIFY, err);
    rc = prop_kek_fingerprint(kek, found, err);
    if (rc)
        return rc;
    if (strcmp(found, fingerprint) != 0)
        return other_content(path, PROP_E_VERIFY, err);
    *ret_kek = PROP_TAKE(kek);
    return 0;
}

int prop_kek_store_path(const char *fingerprint, char **ret, struct prop_err *err)
{
    return is_fingerprint(fingerprint) ? path_of(fingerprint, ret, err)
                                       : bad_fingerprint(fingerprint, err);
}

int prop_kek_store_forget(const char *fingerprint, struct prop_err *err)
{
    prop_auto_free char *path = NULL;
    int rc = prop_kek_store_path(fingerprint, &path, err);
    if (rc)
        return rc;
    if (unlink(path) == 0)
        return 0;
    return errno == ENOENT ? not_kept(fingerprint, path, err)
                           : prop_err_sys(err, PROP_E_IO, "remove '%s'", path);
}

/* "kek-<fingerprint>.bin" into 17 bytes; false for other names. */
static bool fingerprint_of(const char *name, char out[FINGERPRINT_DIGITS + 1])
{
    static const char head[] = "kek-", tail[] = ".bin";
    if (strlen(name) != strlen(head) + FINGERPRINT_DIGITS + strlen(tail) ||
        memcmp(name, head, strlen(head)) != 0 ||
        strcmp(name + strlen(head) + FINGERPRINT_DIGITS, tail) != 0)
        return false;
    memcpy(out, name + strlen(head), FINGERPRINT_DIGITS);
    out[FINGERPRINT_DIGITS] = 0;
    return is_fingerprint(out);
}

static int kek_file(const struct dirent *entry)
{
    char fingerprint[FINGERPRINT_DIGITS + 1];
    return fingerprint_of(entry->d_name, fingerprint);
}

int prop_kek_store_list(json_t **ret, struct prop_err *err)
{
    prop_auto_free char *dir = NULL;
    prop_auto_json json_t *list = json_array();
    struct dirent **entries = NULL;
    char fingerprint[FINGERPRINT_DIGITS + 1];
    int rc = list ? open_folder(&dir, err) : prop_err_nomem(err);
    if (rc)
        return rc;
    int n = scandir(dir, &entries, kek_file, alphasort);
    if (n < 0)
        return prop_err_sys(err, PROP_E_IO, "read key folder '%s'", dir);
    for (int i = 0; i < n; i++) {
        if (fingerprint_of(entries[i]->d_name, fingerprint) &&
            json_array_append_new(list, json_string(fingerprint)) != 0)
            rc = prop_err_nomem(err);
        prop_free(entries[i]); /* scandir's memory is malloc's, as ours */
    }
    prop_free(entries);
    if (rc == 0)
        *ret = PROP_TAKE(list);
    return rc;
}
