/* Inside archive/ only: libarchive, loaded at its first use.
 *
 * It brings libxml2 and ICU along, which every start of a tool would pay for (4 of 19 ms); only
 * oci-archive: needs it. The headers give the types, so a call is checked as if it were linked. */
#ifndef PROP_ARCHIVE_LATE_H
#define PROP_ARCHIVE_LATE_H

#include "util/err.h"

#include <archive.h>
#include <archive_entry.h>

#define PROP_LIBARCHIVE(X)                                                                         \
    X(archive_entry_filetype) X(archive_entry_free) X(archive_entry_hardlink)                      \
    X(archive_entry_new) X(archive_entry_pathname) X(archive_entry_set_filetype)                   \
    X(archive_entry_set_mtime) X(archive_entry_set_pathname) X(archive_entry_set_perm)             \
    X(archive_entry_set_size) X(archive_entry_size) X(archive_error_string) X(archive_read_data)   \
    X(archive_read_free) X(archive_read_new) X(archive_read_next_header)                           \
    X(archive_read_open_filename) X(archive_read_support_filter_gzip)                              \
    X(archive_read_support_filter_zstd) X(archive_read_support_format_tar) X(archive_set_error)    \
    X(archive_write_close) X(archive_write_data) X(archive_write_free) X(archive_write_header)     \
    X(archive_write_new) X(archive_write_open) X(archive_write_set_bytes_in_last_block)            \
    X(archive_write_set_format_pax_restricted) X(archive_entry_set_dev) X(archive_entry_set_gid)   \
    X(archive_entry_set_ino) X(archive_entry_set_nlink) X(archive_entry_set_symlink)               \
    X(archive_entry_set_uid) X(archive_read_open) X(archive_read_open_memory)                      \
    X(archive_read_support_filter_xz) X(archive_read_support_format_ar)                            \
    X(archive_read_support_format_raw) X(archive_write_add_filter_gzip)                            \
    X(archive_write_add_filter_zstd) X(archive_write_set_filter_option)                            \
    X(archive_write_set_format_cpio_newc) X(archive_write_set_bytes_per_block)                     \
    X(archive_write_set_format_iso9660) X(archive_write_set_format_option)

#define PROP_LIBARCHIVE_MEMBER(name) __typeof__(name) *name;
struct prop_libarchive {
    PROP_LIBARCHIVE(PROP_LIBARCHIVE_MEMBER)
};

/* Valid after prop_libarchive_load succeeded once in this process. */
extern struct prop_libarchive prop_la;

/* Load the library. Fails: PROP_E_UNSUPPORTED (id "no-libarchive") when it is not installed. */
int prop_libarchive_load(struct prop_err *err);

/* Cleanup of readers: `prop_auto_reader struct archive *a = NULL;` */
static inline void prop_reader_close(struct archive **a)
{
    if (*a != NULL)
        prop_la.archive_read_free(*a);
}
#define prop_auto_reader __attribute__((cleanup(prop_reader_close)))

#endif
