#include "archive/iso.h"

#include "archive/late.h"

#include "util/file.h"

#include <errno.h>
#include <sys/stat.h>

struct out {
    struct prop_file_out file;
    struct prop_err failure; /* of a write, met inside libarchive's callback */
};

static la_ssize_t write_through(struct archive *a, void *ctx, const void *data, size_t len)
{
    struct out *o = ctx;

    if (prop_file_out_write(&o->file, data, len, &o->failure) < 0) {
        prop_la.archive_set_error(a, EIO, "write failed");
        return -1;
    }
    return (la_ssize_t)len;
}

static int failed(struct archive *a, const struct out *o, struct prop_err *err)
{
    const char *why = prop_la.archive_error_string(a);

    if (o->failure.code != PROP_OK) {
        *err = o->failure;
        return (int)o->failure.code;
    }
    return prop_err_set(err, PROP_E_IO, "write an ISO 9660 volume: %s", why ? why : "no reason given");
}

static int add(struct archive *a, const struct prop_iso_file *f)
{
    struct archive_entry *e = prop_la.archive_entry_new();
    int rc = ARCHIVE_FATAL;

    if (!e)
        return rc;
    prop_la.archive_entry_set_pathname(e, f->name);
    prop_la.archive_entry_set_filetype(e, S_IFREG);
    prop_la.archive_entry_set_perm(e, 0600); /* shown to the guest: for root only */
    prop_la.archive_entry_set_uid(e, 0);
    prop_la.archive_entry_set_gid(e, 0);
    prop_la.archive_entry_set_nlink(e, 1);
    prop_la.archive_entry_set_size(e, (la_int64_t)f->len);
    prop_la.archive_entry_set_mtime(e, 0, 0);
    rc = prop_la.archive_write_header(a, e);
    if (rc == ARCHIVE_OK && f->len > 0 &&
        prop_la.archive_write_data(a, f->data, f->len) != (la_ssize_t)f->len)
        rc = ARCHIVE_FATAL;
    prop_la.archive_entry_free(e);
    return rc;
}

int prop_iso_write(const char *path, const char *volume_id, const struct prop_iso_file *files,
                   size_t n_files, struct prop_err *err)
{
    struct out o = { PROP_FILE_OUT_INIT, PROP_ERR_INIT };
    int rc = prop_libarchive_load(err);

    if (rc == 0)
        rc = prop_file_out_open(&o.file, path, 0600, false, err);
    struct archive *a = rc == 0 ? prop_la.archive_write_new() : NULL;
    if (rc == 0 && !a)
        rc = prop_err_nomem(err);
    if (rc == 0) {
        int bad = prop_la.archive_write_set_format_iso9660(a) ||
                  prop_la.archive_write_set_format_option(a, "iso9660", "volume-id", volume_id) ||
                  prop_la.archive_write_open(a, &o, NULL, write_through, NULL);
        for (size_t i = 0; !bad && i < n_files; i++)
            bad = add(a, &files[i]);
        if (bad || prop_la.archive_write_close(a))
            rc = failed(a, &o, err);
    }
    if (a)
        prop_la.archive_write_free(a);
    if (rc == 0)
        rc = prop_file_out_commit(&o.file, err);
    prop_file_out_release(&o.file);
    return rc;
}
