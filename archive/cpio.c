#include "archive/cpio.h"

#include "archive/late.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

struct prop_cpio {
    struct archive *archive;
    int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err);
    void *ctx;
    int64_t entries;
    struct prop_err failure; /* of the sink, met inside libarchive's callback */
};

static la_ssize_t write_through(struct archive *a, void *ctx, const void *data, size_t len)
{
    struct prop_cpio *c = ctx;

    if (c->sink(c->ctx, data, len, &c->failure) < 0) {
        prop_la.archive_set_error(a, EIO, "write failed");
        return -1;
    }
    return (la_ssize_t)len;
}

static int failed(const struct prop_cpio *c, struct prop_err *err)
{
    const char *why = prop_la.archive_error_string(c->archive);

    if (c->failure.code != PROP_OK) {
        if (err != NULL)
            *err = c->failure;
        return (int)c->failure.code;
    }
    return prop_err_set(err, PROP_E_IO, "write cpio archive: %s", why ? why : "no reason given");
}

/* The options pin what would else be the library's choice: gzip puts a time into its header. */
static int set_filter(struct prop_cpio *c, enum prop_cpio_filter filter)
{
    int rc = ARCHIVE_OK;

    if (filter == PROP_CPIO_GZIP) {
        rc = prop_la.archive_write_add_filter_gzip(c->archive);
        if (rc == ARCHIVE_OK)
            rc = prop_la.archive_write_set_filter_option(c->archive, "gzip", "timestamp", NULL);
    } else if (filter == PROP_CPIO_ZSTD) {
        rc = prop_la.archive_write_add_filter_zstd(c->archive);
    }
    return rc;
}

int prop_cpio_new(enum prop_cpio_filter filter,
                  int (*sink)(void *ctx, const void *data, size_t len, struct prop_err *err),
                  void *ctx, struct prop_cpio **ret, struct prop_err *err)
{
    int rc = prop_libarchive_load(err);
    prop_auto_cpio struct prop_cpio *c = rc == 0 ? prop_zalloc(sizeof *c) : NULL;

    if (c == NULL)
        return rc ? rc : prop_err_nomem(err);
    c->sink = sink;
    c->ctx = ctx;
    c->archive = prop_la.archive_write_new();
    if (c->archive == NULL)
        return prop_err_nomem(err);
    prop_la.archive_write_set_format_cpio_newc(c->archive);
    prop_la.archive_write_set_bytes_per_block(c->archive, 256 << 10);
    prop_la.archive_write_set_bytes_in_last_block(c->archive, 1);
    if (set_filter(c, filter) != ARCHIVE_OK)
        return prop_err_set(err, PROP_E_UNSUPPORTED, "this libarchive cannot compress that way");
    if (prop_la.archive_write_open(c->archive, c, NULL, write_through, NULL) != ARCHIVE_OK)
        return failed(c, err);
    *ret = PROP_TAKE(c);
    return 0;
}

int prop_cpio_add(struct prop_cpio *c, const char *name, unsigned mode, const void *data, size_t len,
                  struct prop_err *err)
{
    struct archive_entry *e = prop_la.archive_entry_new();
    bool is_file = S_ISREG(mode);

    if (e == NULL)
        return prop_err_nomem(err);
    prop_la.archive_entry_set_pathname(e, name);
    prop_la.archive_entry_set_filetype(e, mode & S_IFMT);
    prop_la.archive_entry_set_perm(e, mode & 07777);
    prop_la.archive_entry_set_uid(e, 0);
    prop_la.archive_entry_set_gid(e, 0);
    prop_la.archive_entry_set_dev(e, 0);
    prop_la.archive_entry_set_ino(e, ++c->entries);
    prop_la.archive_entry_set_nlink(e, S_ISDIR(mode) ? 2 : 1);
    prop_la.archive_entry_set_mtime(e, 0, 0);
    prop_la.archive_entry_set_size(e, is_file ? (la_int64_t)len : 0);
    if (S_ISLNK(mode))
        prop_la.archive_entry_set_symlink(e, data);
    int rc = prop_la.archive_write_header(c->archive, e);
    prop_la.archive_entry_free(e);
    if (rc == ARCHIVE_OK && is_file && len > 0 &&
        prop_la.archive_write_data(c->archive, data, len) != (la_ssize_t)len)
        rc = ARCHIVE_FATAL;
    return rc == ARCHIVE_OK ? 0 : failed(c, err);
}

int prop_cpio_end(struct prop_cpio *c, struct prop_err *err)
{
    return prop_la.archive_write_close(c->archive) == ARCHIVE_OK ? 0 : failed(c, err);
}

void prop_cpio_free(struct prop_cpio *c)
{
    if (c == NULL)
        return;
    if (c->archive != NULL)
        prop_la.archive_write_free(c->archive);
    prop_free(c);
}
