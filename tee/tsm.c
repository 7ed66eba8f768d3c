/* configfs-tsm, step by step as attestation.md 2.1 counts them. */
#include "tee/tsm.h"

#include "crypto/random.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 3, BUSY_TRIES = 5, BUSY_PAUSE_MS = 100, TEXT_MAX = 64 };

/* A request slot; the folder goes when the slot does, whatever happened in between. */
struct slot {
    char *path;
};

static void slot_release(struct slot *s)
{
    if (s->path)
        (void)rmdir(s->path);
    prop_free(s->path);
    s->path = NULL;
}
#define auto_slot __attribute__((cleanup(slot_release)))

void prop_tsm_report_release(struct prop_tsm_report *r)
{
    prop_buf_release(&r->outblob);
    prop_buf_release(&r->auxblob);
}

static int no_tsm(const char *root, int number, struct prop_err *err)
{
    prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tsm", "no report interface at '%s': %s", root,
                    strerror(number));
    if (err)
        err->sys_errno = number;
    switch (number) {
    case ENXIO:
        return prop_err_hint(err, "no provider is loaded: load sev-guest or tdx-guest");
    case EACCES:
    case EPERM:
        return prop_err_hint(err, "asking for a report needs root");
    case EROFS:
    case ENOENT:
        return prop_err_hint(err, "it needs Linux 6.7, sev-guest or tdx-guest loaded, and configfs: "
                                  "mount -t configfs none " PROP_CONFIGFS);
    default:
        return prop_err_hint(err, "see the kernel log of this guest");
    }
}

static int slot_open(struct slot *s, const char *root, struct prop_err *err)
{
    for (int i = 0; i < TRIES; i++) {
        uint8_t unique[8];
        char hex[2 * sizeof(unique) + 1];
        prop_random(unique, sizeof(unique));
        prop_hex_encode(unique, sizeof(unique), hex);
        char *path = prop_asprintf("%s/prop-%ld-%s", root, (long)getpid(), hex);
        if (!path)
            return prop_err_nomem(err);
        if (mkdir(path, 0700) == 0) {
            s->path = path;
            return 0;
        }
        int number = errno;
        prop_free(path);
        if (number != EEXIST)
            return no_tsm(root, number, err);
    }
    return no_tsm(root, EEXIST, err);
}

static int attribute_open(const struct slot *s, const char *name, int flags)
{
    prop_auto_free char *path = prop_path_join(s->path, name);
    if (!path) {
        errno = ENOMEM;
        return -1;
    }
    return open(path, flags | O_CLOEXEC);
}

/* 0 and the attribute's text without its newline, or -1 with errno. */
static int attribute_text(const struct slot *s, const char *name, char *out, size_t size)
{
    prop_auto_fd int fd = attribute_open(s, name, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, out, size - 1);
    if (n < 0)
        return -1;
    out[n] = 0;
    out[strcspn(out, "\n")] = 0;
    return 0;
}

static int provider_of(const struct slot *s, char out[32], struct prop_err *err)
{
    if (attribute_text(s, "provider", out, 32) < 0)
        return prop_err_sys(err, PROP_E_IO, "read '%s/provider'", s->path);
    return 0;
}

int prop_tsm_provider(const char *root, char ret_name[32], struct prop_err *err)
{
    auto_slot struct slot s = { NULL };
    char name[32] = { 0 };
    int rc = slot_open(&s, root, err);
    if (rc == 0)
        rc = provider_of(&s, name, err);
    if (rc == 0)
        memcpy(ret_name, name, sizeof(name));
    return rc;
}

/* The kernel commits the value at close, so close's result is the write's. */
static int write_inblob(const struct slot *s, const uint8_t data[PROP_TSM_INBLOB],
                        struct prop_err *err)
{
    int fd = attribute_open(s, "inblob", O_WRONLY);
    if (fd < 0)
        return prop_err_sys(err, PROP_E_IO, "open '%s/inblob'", s->path);
    ssize_t n = write(fd, data, PROP_TSM_INBLOB);
    int number = n < 0 ? errno : 0;
    if (close(fd) < 0 && !number)
        number = errno;
    if (number) {
        errno = number;
        return prop_err_sys(err, PROP_E_IO, "write '%s/inblob'", s->path);
    }
    return n == PROP_TSM_INBLOB ? 0
                                : prop_err_set(err, PROP_E_IO, "short write to '%s/inblob'", s->path);
}

static int read_generation(const struct slot *s, unsigned long *ret, struct prop_err *err)
{
    char text[TEXT_MAX];
    char *end = text;
    if (attribute_text(s, "generation", text, sizeof(text)) < 0)
        return prop_err_sys(err, PROP_E_IO, "read '%s/generation'", s->path);
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (errno || end == text || *end)
        return prop_err_set(err, PROP_E_IO, "'%s/generation' is not a number", s->path);
    *ret = v;
    return 0;
}

/* What each refusal of the kernel means (Documentation/ABI/testing/configfs-tsm; attestation.md 2.1). */
static const struct {
    int number;
    const char *hint;
} refusals[] = {
    { ETIMEDOUT, "the host's quote service is silent; in QEMU it is named by the "
                 "quote-generation-socket of tdx-guest" },
    { EFBIG, "the report is larger than this kernel hands out: update it" },
    { ENXIO, "the report provider was unloaded: load sev-guest or tdx-guest again" },
    { EIO, "the host or its firmware refused; an SNP guest may have lost its key (VMPCK) and must be "
           "rebooted, a TD's host may have no quote service" },
    { EINVAL, "the kernel did not take 64 bytes of report data: is the provider really sev-guest or "
              "tdx-guest?" },
    { EBUSY, "the host still works on an earlier request: try again in a minute" },
    { EINTR, "interrupted again and again: try again" },
    { ENOTTY, "the guest's key (VMPCK) was wiped after an earlier failure: reboot the guest" },
    { ENOMEM, "the guest is out of memory" },
    { EACCES, "asking for a report needs root" },
    { EPERM, "asking for a report needs root" },
    { ENOENT, "this kernel's report interface is not complete: is it Linux 6.7 or later?" },
};

static int refused(const struct slot *s, const char *name, int number, struct prop_err *err)
{
    errno = number;
    prop_err_sys(err, PROP_E_IO, "read '%s/%s'", s->path, name);
    if (err)
        err->id = "tsm-refused";
    for (size_t i = 0; i < PROP_ARRAY_LEN(refusals); i++)
        if (refusals[i].number == number)
            (void)prop_err_hint(err, "%s", refusals[i].hint);
    (void)prop_err_hint(err, "see the kernel log of this guest");
    return PROP_E_IO;
}

/* Read a blob to its end. Busy answers are waited out; EWOULDBLOCK (the slot changed) is left to
 * the caller, as a 1. */
static int read_blob(const struct slot *s, const char *name, struct prop_buf *out,
                     struct prop_err *err)
{
    uint8_t chunk[4096];
    prop_auto_fd int fd = attribute_open(s, name, O_RDONLY);
    if (fd < 0)
        return refused(s, name, errno, err);
    for (int busy = 0;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n == 0)
            return 0;
        if (n > 0) {
            int rc = prop_buf_add(out, chunk, (size_t)n, err);
            if (rc < 0) {
                (void)prop_err_wrap(err, "'%s'", name);
                return rc;
            }
        } else if (errno == EWOULDBLOCK) {
            return 1;
        } else if ((errno != EBUSY && errno != EINTR) || ++busy > BUSY_TRIES) {
            return refused(s, name, errno, err);
        } else {
            long ms = (long)BUSY_PAUSE_MS << (busy - 1);
            struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };
            (void)nanosleep(&pause, NULL);
        }
    }
}

/* One slot, one report: 0, negative, or 1 when somebody else wrote into the slot. */
static int attempt(const char *root, const char *provider, const uint8_t data[PROP_TSM_INBLOB],
                   struct prop_tsm_report *r, struct prop_err *err)
{
    auto_slot struct slot s = { NULL };
    unsigned long before = 0, after = 0;
    int rc = slot_open(&s, root, err);
    if (rc == 0)
        rc = provider_of(&s, r->provider, err);
    if (rc < 0)
        return rc;
    if (strcmp(r->provider, provider) != 0)
        return prop_err_set_id(err, PROP_E_UNSUPPORTED, "no-tsm",
                               "reports of this machine come from '%s', not from '%s'",
                               r->provider, provider);
    rc = write_inblob(&s, data, err);
    if (rc == 0)
        rc = read_generation(&s, &before, err);
    if (rc < 0 || before != 1)
        return rc < 0 ? rc : 1;
    rc = read_blob(&s, "outblob", &r->outblob, err);
    /* Only SNP has an auxblob; the attribute is hidden or empty elsewhere. */
    if (rc == 0 && strcmp(provider, "sev_guest") == 0)
        rc = read_blob(&s, "auxblob", &r->auxblob, err);
    if (rc == 0)
        rc = read_generation(&s, &after, err);
    return rc ? rc : before != after;
}

int prop_tsm_get_report(const char *root, const char *provider,
                        const uint8_t data[PROP_TSM_INBLOB], struct prop_tsm_report *ret,
                        struct prop_err *err)
{
    for (int i = 0; i < TRIES; i++) {
        prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
        int rc = attempt(root, provider, data, &r, err);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            prop_tsm_report_release(ret);
            *ret = r;
            r = (struct prop_tsm_report)PROP_TSM_REPORT_INIT;
            return 0;
        }
    }
    prop_err_set_id(err, PROP_E_IO, "tsm-busy",
                    "another program keeps writing into the request slots under '%s'", root);
    return prop_err_hint(err, "try again when nothing else asks for reports");
}
