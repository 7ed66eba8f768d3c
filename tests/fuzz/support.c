#include "tests/fuzz/fuzz.h"

#include "util/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fuzz_fail(const char *what, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

int fuzz_ok(int rc, const struct prop_err *err)
{
    if (rc == 0) {
        FUZZ_CHECK(err->code == PROP_OK);
        return 1;
    }
    if (err->code != rc || rc == PROP_E_BUG)
        (void)fprintf(stderr, "%d, error %d %s: %s\n", rc, err->code, prop_err_id(err),
                      err->message);
    FUZZ_CHECK(rc < 0 && err->code == rc);
    FUZZ_CHECK(rc != PROP_E_BUG);
    FUZZ_CHECK(err->message[0] != 0 && *prop_err_id(err) != 0);
    for (const char *p = err->message; *p; p++)
        FUZZ_CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
    return 0;
}

struct prop_secret *fuzz_secret(const char *name)
{
    struct prop_err err = PROP_ERR_INIT;
    struct prop_secret *s = NULL;
    const char *root = getenv("PROP_ROOT");
    prop_auto_free char *path = prop_asprintf("%s/tests/vectors/%s", root ? root : ".", name);
    FUZZ_CHECK(path);
    if (prop_file_read_secret(path, 1u << 20, PROP_SECRET_FILE_ANY_MODE, &s, &err) != 0)
        fuzz_fail(err.message, path, 0);
    return s;
}

struct prop_pkey *fuzz_key(const char *name)
{
    struct prop_err err = PROP_ERR_INIT;
    prop_auto_secret struct prop_secret *pem = fuzz_secret(name);
    struct prop_pkey *key = NULL;
    FUZZ_CHECK(prop_pkey_load_private(pem, NULL, name, &key, &err) == 0);
    return key;
}

char *fuzz_text(const uint8_t *data, size_t len)
{
    char *text = prop_alloc(len + 1);
    FUZZ_CHECK(text);
    if (len)
        memcpy(text, data, len);
    text[len] = 0;
    return text;
}

static char folder[256];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void remove_folder(void)
{
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    if (!folder[0]) {
        const char *tmp = getenv("TMPDIR");
        (void)snprintf(folder, sizeof folder, "%s/prop-fuzz-XXXXXX", tmp ? tmp : "/tmp");
        FUZZ_CHECK(mkdtemp(folder));
        FUZZ_CHECK(atexit(remove_folder) == 0);
    }
    return folder;
}

void fuzz_put(const char *name, const void *data, size_t len)
{
    prop_auto_free char *path = prop_path_join(fuzz_folder(), name);
    FUZZ_CHECK(path);
    prop_auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && prop_write_all(fd, data, len) == 0);
}
