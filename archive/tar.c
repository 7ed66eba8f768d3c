/* Tar archives through libarchive, with only the tar format and two compressions switched on. */
#include "archive/tar.h"

#include "archive/late.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define ENTRIES_MAX 65536
#define BLOCK_BYTES (256u << 10)

static void close_reader(struct archive **a)
{
    if (*a != NULL)
        prop_la.archive_read_free(*a);
}
#define auto_reader __attribute__((cleanup(close_reader)))

static int bad(struct prop_err *err, const char *file, const char *why)
{
    char shown[200];

    if (why == NULL) /* libarchive has no words for every failure */
        why = "it cannot be read";
    prop_printable(why, strlen(why), shown, sizeof(shown));
    return prop_err_set_id(err, PROP_E_INPUT, "bad-archive", "archive '%s': %s", file, shown);
}

static int open_reader(const char *file, struct archive **ret, struct prop_err *err)
{
    struct archive *a;

    if (access(file, R_OK) != 0)
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "'%s'", file);
    int rc = prop_libarchive_load(err);
    if (rc != 0)
        return rc;
    a = prop_la.archive_read_new();
    if (a == NULL)
        return prop_err_nomem(err);
    *ret = a;
    prop_la.archive_read_support_format_tar(a);
    prop_la.archive_read_support_filter_gzip(a);
    prop_la.archive_read_support_filter_zstd(a);
    if (prop_la.archive_read_open_filename(a, file, BLOCK_BYTES) != ARCHIVE_OK)
        return bad(err, file, prop_la.archive_error_string(a));
    return 0;
}

/* A name without leading "./" and trailing "/", or NULL when it would leave the folder. */
static const char *safe_name(const char *name)
{
    const char *p;

    while (name[0] == '.' && name[1] == '/')
        name += 2;
    if (name[0] == '/' || strchr(name, '\\') != NULL)
        return NULL;
    for (p = name; *p != '\0';) {
        size_t len = strcspn(p, "/");

        if (len == 2 && p[0] == '.' && p[1] == '.')
            return NULL;
        p += len;
        while (*p == '/')
            p++;
    }
    return name;
}

/* The next entry; ret_name NULL at the end. */
static int next_entry(struct archive *a, const char *file, struct archive_entry **ret_entry,
                      const char **ret_name, struct prop_err *err)
{
    int rc = prop_la.archive_read_next_header(a, ret_entry);
    const char *name;
    mode_t type;

    *ret_name = NULL;
    if (rc == ARCHIVE_EOF)
        return 0;
    if (rc != ARCHIVE_OK)
        return bad(err, file, prop_la.archive_error_string(a));
    name = prop_la.archive_entry_pathname(*ret_entry);
    type = prop_la.archive_entry_filetype(*ret_entry);
    if (name == NULL || safe_name(name) == NULL)
        return bad(err, file, "an entry's name leads out of the archive");
    if (prop_la.archive_entry_hardlink(*ret_entry) != NULL || (type != AE_IFREG && type != AE_IFDIR))
        return bad(err, file, "it holds a link or a device");
    *ret_name = safe_name(name);
    return 0;
}

int prop_tar_check(const char *file,
                   int (*entry)(void *ctx, const char *name, uint64_t size, struct prop_err *err),
                   void *ctx, struct prop_err *err)
{
    auto_reader struct archive *a = NULL;
    prop_auto_json json_t *seen = json_object();
    struct archive_entry *e = NULL;
    const char *name = NULL;
    int rc = seen == NULL ? prop_err_nomem(err) : open_reader(file, &a, err);

    while (rc == 0) {
        rc = next_entry(a, file, &e, &name, err);
        if (rc < 0 || name == NULL)
            break;
        if (prop_la.archive_entry_filetype(e) == AE_IFDIR)
            continue;
        if (json_object_get(seen, name) != NULL)
            return bad(err, file, "a name stands in it twice");
        if (json_object_size(seen) == ENTRIES_MAX)
            return prop_err_set(err, PROP_E_LIMIT, "archive '%s' has more than %d entries", file,
                                ENTRIES_MAX);
        if (json_object_set_new(seen, name, json_true()) < 0)
            return bad(err, file, "an entry's name is no UTF-8 text");
        if (entry != NULL)
            rc = entry(ctx, name, (uint64_t)prop_la.archive_entry_size(e), err);
    }
    return rc;
}

int prop_tar_read(const char *file, const char *wanted, uint64_t *ret_size,
                  int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err),
                  void *ctx, struct prop_err *err)
{
    auto_reader struct archive *a = NULL;
    prop_auto_free uint8_t *piece = prop_alloc(BLOCK_BYTES);
    struct archive_entry *e = NULL;
    const char *name = NULL;
    int rc = piece == NULL ? prop_err_nomem(err) : open_reader(file, &a, err);

    while (rc == 0) {
        rc = next_entry(a, file, &e, &name, err);
        if (rc == 0 && name == NULL)
            return prop_err_set(err, PROP_E_NOTFOUND, "archive '%s' has no '%s'", file, wanted);
        if (rc == 0 && prop_la.archive_entry_filetype(e) == AE_IFREG && strcmp(name, wanted) == 0)
            break;
    }
    if (rc == 0 && ret_size != NULL)
        *ret_size = (uint64_t)prop_la.archive_entry_size(e);
    while (rc == 0) {
        la_ssize_t n = prop_la.archive_read_data(a, piece, BLOCK_BYTES);

        if (n == ARCHIVE_RETRY)
            continue;
        if (n < 0)
            return bad(err, file, prop_la.archive_error_string(a));
        if (n == 0)
            break;
        rc = sink(ctx, piece, (size_t)n, err);
    }
    return rc;
}

/* --- writing --- */

struct prop_tar_out {
    struct archive *archive;
    int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err);
    void *ctx;
    struct prop_err failure; /* of the sink, met inside libarchive's callback */
};

static la_ssize_t write_through(struct archive *a, void *ctx, const void *data, size_t len)
{
    struct prop_tar_out *t = ctx;

    if (t->sink(t->ctx, data, len, &t->failure) < 0) {
        prop_la.archive_set_error(a, EIO, "write failed");
        return -1;
    }
    return (la_ssize_t)len;
}

static int failed(struct prop_tar_out *t, struct prop_err *err)
{
    if (t->failure.code != PROP_OK) {
        if (err != NULL)
            *err = t->failure;
        return (int)t->failure.code;
    }
    return prop_err_set(err, PROP_E_IO, "write archive: %s", prop_la.archive_error_string(t->archive));
}

static int file_sink(void *ctx, const void *data, size_t len, struct prop_err *err)
{
    return prop_file_out_write(ctx, data, len, err);
}

int prop_tar_out_new(struct prop_file_out *file, struct prop_tar_out **ret, struct prop_err *err)
{
    return prop_tar_out_new_sink(file_sink, file, ret, err);
}

uint64_t prop_tar_size_of_one(uint64_t size)
{
    return 512 + (size + 511) / 512 * 512 + 1024; /* header, content, two blocks of zeros */
}

int prop_tar_out_new_sink(int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err),
                          void *ctx, struct prop_tar_out **ret, struct prop_err *err)
{
    int rc = prop_libarchive_load(err);
    struct prop_tar_out *t = rc == 0 ? prop_zalloc(sizeof(*t)) : NULL;

    if (t == NULL)
        return rc != 0 ? rc : prop_err_nomem(err);
    t->sink = sink;
    t->ctx = ctx;
    t->archive = prop_la.archive_write_new();
    if (t->archive == NULL) {
        prop_free(t);
        return prop_err_nomem(err);
    }
    prop_la.archive_write_set_format_pax_restricted(t->archive);
    prop_la.archive_write_set_bytes_in_last_block(t->archive, 1);
    if (prop_la.archive_write_open(t->archive, t, NULL, write_through, NULL) != ARCHIVE_OK)
        rc = failed(t, err);
    if (rc < 0) {
        prop_tar_out_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

static int add_entry(struct prop_tar_out *t, const char *name, uint64_t size, bool folder,
                     struct prop_err *err)
{
    struct archive_entry *e = prop_la.archive_entry_new();
    int rc;

    if (e == NULL || size > INT64_MAX)
        return prop_err_nomem(err);
    prop_la.archive_entry_set_pathname(e, name);
    prop_la.archive_entry_set_filetype(e, folder ? AE_IFDIR : AE_IFREG);
    prop_la.archive_entry_set_perm(e, folder ? 0755 : 0644);
    prop_la.archive_entry_set_size(e, (la_int64_t)size);
    prop_la.archive_entry_set_mtime(e, 0, 0);
    rc = prop_la.archive_write_header(t->archive, e);
    prop_la.archive_entry_free(e);
    return rc == ARCHIVE_OK ? 0 : failed(t, err);
}

int prop_tar_out_folder(struct prop_tar_out *t, const char *name, struct prop_err *err)
{
    return add_entry(t, name, 0, true, err);
}

int prop_tar_out_file(struct prop_tar_out *t, const char *name, uint64_t size, struct prop_err *err)
{
    return add_entry(t, name, size, false, err);
}

int prop_tar_out_write(struct prop_tar_out *t, const void *data, size_t len, struct prop_err *err)
{
    if (prop_la.archive_write_data(t->archive, data, len) != (la_ssize_t)len)
        return failed(t, err);
    return 0;
}

int prop_tar_out_end(struct prop_tar_out *t, struct prop_err *err)
{
    return prop_la.archive_write_close(t->archive) == ARCHIVE_OK ? 0 : failed(t, err);
}

void prop_tar_out_free(struct prop_tar_out *t)
{
    if (t == NULL)
        return;
    prop_la.archive_write_free(t->archive);
    prop_free(t);
}
