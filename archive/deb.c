#include "archive/deb.h"

#include "archive/late.h"
#include "util/mem.h"
#include "util/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (256u << 10)
#define ENTRIES_MAX 200000

static int bad(struct prop_err *err, const char *id, const char *file, struct archive *a,
               const char *why)
{
    char shown[200];

    if (why == NULL && a != NULL)
        why = prop_la.archive_error_string(a);
    if (why == NULL)
        why = "it cannot be read";
    (void)prop_printable(why, strlen(why), shown, sizeof shown);
    return prop_err_set_id(err, PROP_E_INPUT, id, "'%s': %s", file, shown);
}

/* All of the present entry, or of a raw file. */
static int read_content(struct archive *a, const char *what, const char *id, struct prop_buf *out,
                        struct prop_err *err)
{
    for (;;) {
        size_t room = out->max - out->len;
        int rc = prop_buf_reserve(out, room < BLOCK_BYTES ? room : BLOCK_BYTES, err);
        if (rc)
            return rc;
        char probe;
        la_ssize_t n = room ? prop_la.archive_read_data(a, out->data + out->len,
                                                        room < BLOCK_BYTES ? room : BLOCK_BYTES)
                            : prop_la.archive_read_data(a, &probe, 1);
        if (n == ARCHIVE_RETRY)
            continue;
        if (n < 0)
            return bad(err, id, what, a, NULL);
        if (n == 0)
            return 0;
        if (room == 0)
            return prop_err_set_id(err, PROP_E_LIMIT, "file-too-big", "'%s' is over %zu bytes", what,
                                   out->max);
        out->len += (size_t)n;
        out->data[out->len] = 0;
    }
}

/* ---- the outer ar, whose member data.tar.* feeds the inner reader --------------------------- */

struct feed {
    struct archive *outer;
    uint8_t *piece;
};

static la_ssize_t feed_read(struct archive *a, void *ctx, const void **ret)
{
    struct feed *f = ctx;
    la_ssize_t n = prop_la.archive_read_data(f->outer, f->piece, BLOCK_BYTES);

    if (n < 0)
        prop_la.archive_set_error(a, EIO, "the package is damaged");
    *ret = f->piece;
    return n < 0 ? -1 : n;
}

static int find_data(struct archive *outer, const char *file, struct prop_err *err)
{
    struct archive_entry *e = NULL;
    bool is_deb = false;

    for (;;) {
        int rc = prop_la.archive_read_next_header(outer, &e);
        const char *name = rc == ARCHIVE_OK ? prop_la.archive_entry_pathname(e) : NULL;

        if (rc == ARCHIVE_EOF)
            return bad(err, "bad-package", file, NULL, "it has no data.tar");
        if (rc != ARCHIVE_OK)
            return bad(err, "bad-package", file, NULL, "it is no Debian package");
        if (name && strcmp(name, "debian-binary") == 0)
            is_deb = true;
        if (name && prop_starts_with(name, "data.tar"))
            return is_deb ? 0 : bad(err, "bad-package", file, NULL, "it is no Debian package");
    }
}

static int open_outer(const char *file, struct archive **ret, struct prop_err *err)
{
    if (access(file, R_OK) != 0)
        return prop_err_sys(err, errno == ENOENT ? PROP_E_NOTFOUND : PROP_E_IO, "'%s'", file);
    int rc = prop_libarchive_load(err);
    if (rc)
        return rc;
    struct archive *a = prop_la.archive_read_new();
    if (a == NULL)
        return prop_err_nomem(err);
    *ret = a;
    prop_la.archive_read_support_format_ar(a);
    if (prop_la.archive_read_open_filename(a, file, BLOCK_BYTES) != ARCHIVE_OK)
        return bad(err, "bad-package", file, a, NULL);
    return find_data(a, file, err);
}

static int take_entry(struct archive *a, const char *file, struct archive_entry *e,
                      const struct prop_deb_reader *reader, struct prop_err *err)
{
    prop_auto_buf struct prop_buf content = PROP_BUF_INIT(reader->max);
    const char *name = prop_la.archive_entry_pathname(e);
    la_int64_t size = prop_la.archive_entry_size(e);

    if (name == NULL || size < 0 || prop_la.archive_entry_filetype(e) != AE_IFREG ||
        prop_la.archive_entry_hardlink(e) != NULL)
        return 0;
    if (prop_starts_with(name, "./"))
        name += 2;
    if (!reader->want(reader->ctx, name, (uint64_t)size))
        return 0;
    int rc = read_content(a, file, "bad-package", &content, err);
    return rc ? rc : reader->take(reader->ctx, name, &content, err);
}

int prop_deb_read(const char *file, const struct prop_deb_reader *reader, struct prop_err *err)
{
    prop_auto_reader struct archive *outer = NULL;
    prop_auto_reader struct archive *inner = NULL;
    prop_auto_free uint8_t *piece = prop_alloc_pages(BLOCK_BYTES);
    struct archive_entry *e = NULL;
    int rc = piece ? open_outer(file, &outer, err) : prop_err_nomem(err);

    if (rc)
        return rc;
    struct feed feed = { outer, piece };
    inner = prop_la.archive_read_new();
    if (inner == NULL)
        return prop_err_nomem(err);
    prop_la.archive_read_support_format_tar(inner);
    prop_la.archive_read_support_filter_gzip(inner);
    prop_la.archive_read_support_filter_xz(inner);
    prop_la.archive_read_support_filter_zstd(inner);
    if (prop_la.archive_read_open(inner, &feed, NULL, feed_read, NULL) != ARCHIVE_OK)
        return bad(err, "bad-package", file, inner, NULL);
    for (int i = 0; rc == 0 && i < ENTRIES_MAX; i++) {
        int got = prop_la.archive_read_next_header(inner, &e);
        if (got == ARCHIVE_EOF)
            return 0;
        if (got != ARCHIVE_OK)
            return bad(err, "bad-package", file, inner, NULL);
        rc = take_entry(inner, file, e, reader, err);
    }
    return rc ? rc : bad(err, "bad-package", file, NULL, "it has too many files");
}

/* ---- one compressed file ------------------------------------------------------------------- */

static bool is_packed(const uint8_t *p, size_t len)
{
    static const uint8_t gzip[] = { 0x1f, 0x8b }, xz[] = { 0xfd, '7', 'z', 'X', 'Z', 0 },
                         zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };

    return (len > sizeof gzip && memcmp(p, gzip, sizeof gzip) == 0) ||
           (len > sizeof xz && memcmp(p, xz, sizeof xz) == 0) ||
           (len > sizeof zstd && memcmp(p, zstd, sizeof zstd) == 0);
}

int prop_unpack(const void *data, size_t len, const char *what, struct prop_buf *out,
                struct prop_err *err)
{
    prop_auto_reader struct archive *a = NULL;
    struct archive_entry *e = NULL;

    if (!is_packed(data, len))
        return prop_buf_add(out, data, len, err);
    int rc = prop_libarchive_load(err);
    if (rc)
        return rc;
    a = prop_la.archive_read_new();
    if (a == NULL)
        return prop_err_nomem(err);
    prop_la.archive_read_support_format_raw(a);
    prop_la.archive_read_support_filter_gzip(a);
    prop_la.archive_read_support_filter_xz(a);
    prop_la.archive_read_support_filter_zstd(a);
    if (prop_la.archive_read_open_memory(a, data, len) != ARCHIVE_OK ||
        prop_la.archive_read_next_header(a, &e) != ARCHIVE_OK)
        return bad(err, "bad-archive", what, a, NULL);
    return read_content(a, what, "bad-archive", out, err);
}
