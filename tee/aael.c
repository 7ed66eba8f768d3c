/* The runtime event log. Order: write-ahead file, register, log, write-ahead file removed. */
#include "tee/aael.h"

#include "tee/eventlog.h"
#include "tee/tdx_guest.h"
#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The write-ahead file: where the entry begins in the log (big-endian), what RTMR3 is once it was
 * extended, and the event's text. */
enum { WAL_OFFSET = 8, WAL_HEAD = WAL_OFFSET + PROP_RTMR_LEN, FILE_MODE = 0644, DIR_MODE = 0755,
       TEXT_MAX = 64 << 10 };
static const char wal_name[] = ".wal_event_entry";
static const char rtmr3[] = "rtmr3:sha384";

struct log {
    const struct prop_tee_machine *m;
    int fd;
    char *wal;
};

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? prop_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : prop_strdup(".");
}

static int log_size(const struct log *l, uint64_t *ret, struct prop_err *err)
{
    struct stat st;
    if (fstat(l->fd, &st) < 0)
        return prop_err_sys(err, PROP_E_IO, "'%s'", l->m->aael);
    *ret = (uint64_t)st.st_size;
    return 0;
}

/* Append one entry at `offset`, over what a crash may have left there. */
static int append(const struct log *l, uint64_t offset, const struct prop_buf *entry,
                  struct prop_err *err)
{
    if (ftruncate(l->fd, (off_t)offset) < 0 || lseek(l->fd, 0, SEEK_END) < 0 ||
        prop_write_all(l->fd, entry->data, entry->len) < 0)
        return prop_err_sys(err, PROP_E_IO, "write '%s'", l->m->aael);
    return 0;
}

/* "domain operation content" */
static int entry_of_text(char *text, struct prop_buf *entry, uint8_t digest[PROP_RTMR_LEN],
                         struct prop_err *err)
{
    char *operation = strchr(text, ' ');
    char *content = operation ? strchr(operation + 1, ' ') : NULL;
    if (!content)
        return prop_err_set_id(err, PROP_E_INPUT, "event-text", "a runtime event has three parts");
    *operation++ = 0;
    *content++ = 0;
    return prop_eventlog_runtime_entry(text, operation, content, entry, digest, err);
}

/* An entry whose register was extended, and which never reached the log. One whose register was not
 * extended never happened. */
static int mend(const struct log *l, struct prop_err *err)
{
    prop_auto_buf struct prop_buf wal = PROP_BUF_INIT(TEXT_MAX);
    prop_auto_buf struct prop_buf entry = PROP_BUF_INIT(2 * TEXT_MAX);
    uint8_t now[PROP_RTMR_LEN];
    uint64_t size = 0, offset = 0;
    if (access(l->wal, F_OK) < 0)
        return 0;
    int rc = prop_file_read(l->wal, &wal, err);
    if (rc == 0)
        rc = log_size(l, &size, err);
    if (rc == 0)
        rc = prop_tdx_read_register(l->m, rtmr3, now, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < WAL_OFFSET && wal.len > WAL_HEAD; i++)
        offset = offset << 8 | wal.data[i];
    if (wal.len > WAL_HEAD && offset <= size &&
        memcmp(now, wal.data + WAL_OFFSET, PROP_RTMR_LEN) == 0) {
        rc = entry_of_text((char *)wal.data + WAL_HEAD, &entry, NULL, err);
        if (rc == 0)
            rc = append(l, offset, &entry, err);
    }
    if (rc == 0 && unlink(l->wal) < 0)
        rc = prop_err_sys(err, PROP_E_IO, "remove '%s'", l->wal);
    return rc;
}

static int log_open(struct log *l, int flags, struct prop_err *err)
{
    prop_auto_free char *dir = dir_of(l->m->aael);
    int rc = dir ? 0 : prop_err_nomem(err);
    if (rc == 0 && flags & O_CREAT)
        rc = prop_mkdir_p(dir, DIR_MODE, err);
    if (rc < 0)
        return rc;
    l->wal = prop_path_join(dir, wal_name);
    if (!l->wal)
        return prop_err_nomem(err);
    l->fd = open(l->m->aael, flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (l->fd < 0 && !(flags & O_CREAT) && errno == ENOENT)
        return 0;
    if (l->fd < 0 || flock(l->fd, LOCK_EX) < 0)
        return prop_err_sys(err, PROP_E_IO, "open '%s'", l->m->aael);
    return mend(l, err);
}

static void log_close(struct log *l)
{
    prop_free(l->wal);
    if (l->fd >= 0)
        (void)close(l->fd);
}
#define auto_log __attribute__((cleanup(log_close)))

static int write_wal(const struct log *l, uint64_t offset, const uint8_t expected[PROP_RTMR_LEN],
                     const char *text, struct prop_err *err)
{
    prop_auto_buf struct prop_buf wal = PROP_BUF_INIT(TEXT_MAX);
    uint8_t be[WAL_OFFSET];
    for (size_t i = 0; i < sizeof(be); i++)
        be[i] = (uint8_t)(offset >> 8 * (sizeof(be) - 1 - i));
    int rc = prop_buf_add(&wal, be, sizeof(be), err);
    if (rc == 0)
        rc = prop_buf_add(&wal, expected, PROP_RTMR_LEN, err);
    if (rc == 0)
        rc = prop_buf_puts(&wal, text, err);
    return rc < 0 ? rc : prop_file_write(l->wal, wal.data, wal.len, FILE_MODE, true, err);
}

static int record(const struct prop_tee_machine *m, const char *text, const struct prop_buf *entry,
                  const uint8_t digest[PROP_RTMR_LEN], struct prop_err *err)
{
    auto_log struct log l = { m, -1, NULL };
    uint8_t expected[PROP_RTMR_LEN];
    uint64_t offset = 0;
    int rc = log_open(&l, O_CREAT, err);
    if (rc == 0)
        rc = log_size(&l, &offset, err);
    if (rc == 0)
        rc = prop_tdx_read_register(m, rtmr3, expected, err);
    if (rc == 0)
        rc = prop_rtmr_extend(expected, digest, err);
    if (rc == 0)
        rc = write_wal(&l, offset, expected, text, err);
    if (rc < 0)
        return rc;
    rc = prop_tdx_extend_rtmr3(m, digest, err);
    if (rc == 0)
        rc = append(&l, offset, entry, err);
    else
        (void)unlink(l.wal); /* nothing happened */
    if (rc == 0 && unlink(l.wal) < 0)
        rc = prop_err_sys(err, PROP_E_IO, "remove '%s'", l.wal);
    return rc;
}

/* NULL when RTMR3 can be extended here. */
static const char *why_not(const struct prop_tee_machine *m)
{
    prop_auto_free char *path = m->measurements ? prop_path_join(m->measurements, rtmr3) : NULL;
    if (path && access(path, F_OK) == 0)
        return NULL;
    return access(m->tdx_guest, F_OK) == 0
               ? "this kernel cannot extend RTMR3 (Linux 6.16 can)"
               : "this is no TD: nothing here extends a register after the launch";
}

int prop_tee_event_on(const struct prop_tee_machine *m, const char *domain, const char *operation,
                      const char *content, const char **ret_why, struct prop_err *err)
{
    prop_auto_buf struct prop_buf entry = PROP_BUF_INIT(2 * TEXT_MAX);
    uint8_t digest[PROP_RTMR_LEN];
    int rc = prop_eventlog_runtime_entry(domain, operation, content, &entry, digest, err);
    if (rc < 0)
        return rc;
    const char *why = why_not(m);
    prop_auto_free char *text = prop_asprintf("%s %s %s", domain, operation, content);
    if (!text)
        return prop_err_nomem(err);
    if (!why)
        rc = record(m, text, &entry, digest, err);
    if (rc == 0)
        *ret_why = why;
    return rc < 0 ? ((void)prop_err_wrap(err, "record the event '%s'", operation), rc) : 0;
}

int prop_tee_event(const char *domain, const char *operation, const char *content,
                   const char **ret_why, struct prop_err *err)
{
    struct prop_tee_machine here = prop_tee_machine_here();
    return prop_tee_event_on(&here, domain, operation, content, ret_why, err);
}

int prop_tee_module_event(const char *artifact, const char *module, const char **ret_why,
                          struct prop_err *err)
{
    prop_auto_json json_t *content = json_pack("{s:s*,s:s}", "artifact", artifact, "module", module);
    prop_auto_free char *text = content ? prop_json_sorted(content) : NULL;
    if (!text)
        return prop_err_nomem(err);
    return prop_tee_event("propcvm", "RunModule", text, ret_why, err);
}

int prop_aael_lock(const struct prop_tee_machine *m, int *ret_fd, struct prop_err *err)
{
    auto_log struct log l = { m, -1, NULL };
    int rc = m->aael ? log_open(&l, 0, err) : 0;
    if (rc < 0)
        return rc;
    *ret_fd = l.fd;
    l.fd = -1;
    return 0;
}

int prop_aael_read(int fd, struct prop_buf *out, struct prop_err *err)
{
    uint8_t chunk[4096];
    ssize_t n;
    off_t at = 0;
    while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0) {
        int rc = prop_buf_add(out, chunk, (size_t)n, err);
        if (rc < 0)
            return rc;
        at += n;
    }
    return n < 0 ? prop_err_sys(err, PROP_E_IO, "read the runtime event log") : 0;
}
