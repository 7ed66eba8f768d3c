/* /dev/sev-guest. The certificates' size is learnt by asking without room for them. */
#include "tee/sev_guest.h"

#include "tee/snp.h"
#include "util/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct prop_snp_call) == 32, "the driver's request block");
_Static_assert(sizeof(struct prop_snp_request) == 96, "the driver's report request");
_Static_assert(sizeof(struct prop_snp_ext_request) == 112, "the driver's extended request");
_Static_assert(sizeof(struct prop_snp_response) == 4000, "the driver's answer");

enum { BUSY_TRIES = 4, BUSY_PAUSE_MS = 500, PAGE = 4096, STATUS_BAD_PARAMETER = 0x16,
       STATUS_BAD_KEY = 0x27 };

struct device {
    const struct prop_tee_calls *calls;
    const char *path;
    int fd;
};

/* What one call came to; `fw` and `vmm` count when `number` is not 0. */
struct outcome {
    int number; /* errno */
    uint32_t fw, vmm;
};

/* Codes of SEV firmware that a guest may meet here (SEV-SNP firmware ABI, table 6). */
static const struct {
    uint32_t code;
    const char *name;
} firmware_errors[] = {
    { 0x02, "invalid guest state" }, { 0x07, "policy failure" },    { 0x08, "inactive guest" },
    { 0x14, "unsafe hardware error" }, { 0x16, "invalid parameter" }, { 0x17, "resource limit" },
    { 0x1d, "message counter overflow" }, { 0x22, "bad version" },   { 0x23, "shutdown required" },
    { 0x27, "invalid key" },
};

static const char *firmware_error(uint32_t code)
{
    for (size_t i = 0; i < PROP_ARRAY_LEN(firmware_errors); i++)
        if (firmware_errors[i].code == code)
            return firmware_errors[i].name;
    return "firmware error";
}

static int refused(const struct device *d, const struct outcome *o, struct prop_err *err)
{
    static const char id[] = "sev-guest-refused";
    if (o->number == ENOTTY) {
        prop_err_set_id(err, PROP_E_IO, "vmpck-lost", "'%s': the key to the firmware (VMPCK) is gone",
                        d->path);
        return prop_err_hint(err, "the driver wiped it after an earlier failure, or another program "
                                  "used it: reboot the guest");
    }
    if (o->vmm == PROP_SNP_VMM_BUSY) {
        prop_err_set_id(err, PROP_E_IO, "sev-guest-busy", "'%s': the host is busy", d->path);
        return prop_err_hint(err, "it limits how often guests may ask: try again in a minute");
    }
    if (o->number == EIO && o->fw && o->fw != UINT32_MAX) {
        prop_err_set_id(err, PROP_E_IO, id, "'%s': the firmware refused: %s (0x%x)", d->path,
                        firmware_error(o->fw), (unsigned)o->fw);
        return prop_err_hint(err, "do not ask again and again: after an unclear failure the driver "
                                  "wipes its key, and only a reboot helps");
    }
    if (o->number == EIO && o->vmm && o->vmm != UINT32_MAX) {
        prop_err_set_id(err, PROP_E_IO, id, "'%s': the host refused: error %u", d->path,
                        (unsigned)o->vmm);
        return prop_err_hint(err, "look at the host's log");
    }
    errno = o->number;
    prop_err_sys(err, PROP_E_IO, "ask '%s' for a report", d->path);
    if (err)
        err->id = id;
    return prop_err_hint(err, o->number == EINVAL   ? "the driver does not know this request: is "
                                                      "the kernel 5.19 or later?"
                              : o->number == ETIMEDOUT ? "the host did not answer"
                              : o->number == EIO       ? "no cause was given; if it stays so, the "
                                                         "guest must be rebooted"
                                                       : "see the kernel log of this guest");
}

static struct outcome call(const struct device *d, unsigned long code, void *request,
                           struct prop_snp_response *response)
{
    struct outcome o = { 0, 0, 0 };
    unsigned pause = BUSY_PAUSE_MS;
    for (int i = 0; i < BUSY_TRIES; i++, pause *= 2) {
        struct prop_snp_call c = { .msg_version = 1, .request = (uint64_t)(uintptr_t)request,
                                   .response = (uint64_t)(uintptr_t)response,
                                   .exitinfo2 = UINT64_MAX };
        memset(response, 0, sizeof(*response));
        o.number = d->calls->ioctl(d->fd, code, &c) < 0 ? errno : 0;
        o.fw = (uint32_t)c.exitinfo2;
        o.vmm = (uint32_t)(c.exitinfo2 >> 32);
        bool again = o.number == EINTR || o.number == EAGAIN ||
                     (o.number == EIO && o.vmm == PROP_SNP_VMM_BUSY);
        if (!again || i + 1 == BUSY_TRIES)
            break;
        d->calls->pause(pause);
    }
    return o;
}

/* The answer's own status, and the report in it. */
static int take_report(const struct device *d, const struct prop_snp_response *r,
                       struct prop_tsm_report *ret, struct prop_err *err)
{
    if (r->status == STATUS_BAD_PARAMETER || r->status == STATUS_BAD_KEY) {
        prop_err_set_id(err, PROP_E_IO, "sev-guest-refused", "'%s': the firmware refused: %s (0x%x)",
                        d->path, firmware_error(r->status), (unsigned)r->status);
        return prop_err_hint(err, "a guest that does not run at VMPL 0 (under an SVSM) gets no report "
                                  "that key brokers take");
    }
    if (r->status || r->report_size != PROP_SNP_REPORT)
        return prop_err_set_id(err, PROP_E_INPUT, "sev-guest-answer",
                               "'%s' answered with status 0x%x and a report of %u bytes", d->path,
                               (unsigned)r->status, (unsigned)r->report_size);
    return prop_buf_add(&ret->outblob, r->report, PROP_SNP_REPORT, err);
}

static struct prop_snp_request plain_request(const uint8_t data[PROP_TSM_INBLOB])
{
    struct prop_snp_request q = { .vmpl = 0 };
    memcpy(q.user_data, data, PROP_TSM_INBLOB);
    return q;
}

/* The second call, with the room that the first one asked for. 1: the host wants another size now. */
static int with_certs(const struct device *d, const uint8_t data[PROP_TSM_INBLOB], uint32_t len,
                      struct prop_snp_response *response, struct prop_tsm_report *ret,
                      struct prop_err *err)
{
    prop_auto_free uint8_t *room = prop_alloc_pages(len);
    if (!room)
        return prop_err_nomem(err);
    memset(room, 0, len);
    struct prop_snp_ext_request q = { .plain = plain_request(data), .certs_len = len,
                                      .certs = (uint64_t)(uintptr_t)room };
    struct outcome o = call(d, PROP_SNP_GET_EXT_REPORT, &q, response);
    if (o.number == EIO && o.vmm == PROP_SNP_VMM_LENGTH)
        return 1;
    if (o.number)
        return refused(d, &o, err);
    return prop_buf_add(&ret->auxblob, room, len, err);
}

static int ask(const struct device *d, const uint8_t data[PROP_TSM_INBLOB],
               struct prop_tsm_report *ret, struct prop_err *err)
{
    prop_auto_free struct prop_snp_response *response = prop_zalloc(sizeof(*response));
    if (!response)
        return prop_err_nomem(err);
    struct prop_snp_ext_request q = { .plain = plain_request(data), .certs_len = 0 };
    struct outcome o = call(d, PROP_SNP_GET_EXT_REPORT, &q, response);
    int rc = 0;
    if (o.number == EIO && o.vmm == PROP_SNP_VMM_LENGTH) {
        uint32_t len = q.certs_len;
        /* More than there may be, or no whole pages: the report alone is still worth having. */
        bool fits = len && len <= PROP_SNP_CERTS_MAX && len % PAGE == 0;
        rc = fits ? with_certs(d, data, len, response, ret, err) : 1;
        o.number = 0;
    }
    if (rc == 1) {
        struct prop_snp_request alone = plain_request(data);
        o = call(d, PROP_SNP_GET_REPORT, &alone, response);
        rc = 0;
    }
    if (rc == 0 && o.number)
        rc = refused(d, &o, err);
    return rc < 0 ? rc : take_report(d, response, ret, err);
}

int prop_sev_guest_get_report(const struct prop_tee_machine *m,
                              const uint8_t data[PROP_TSM_INBLOB], struct prop_tsm_report *ret,
                              struct prop_err *err)
{
    prop_auto_tsm_report struct prop_tsm_report r = PROP_TSM_REPORT_INIT;
    struct device d = { prop_tee_calls_of(m), m->sev_guest, -1 };
    d.fd = d.calls->open(d.path);
    if (d.fd < 0) {
        bool root = errno == EACCES || errno == EPERM;
        prop_err_sys(err, PROP_E_UNSUPPORTED, "open '%s'", d.path);
        if (err)
            err->id = "no-sev-guest";
        return prop_err_hint(err, root ? "asking for a report needs root" : "load sev-guest");
    }
    int rc = ask(&d, data, &r, err);
    (void)d.calls->close(d.fd);
    if (rc < 0)
        return rc;
    (void)snprintf(r.provider, sizeof(r.provider), "sev_guest");
    prop_tsm_report_release(ret);
    *ret = r;
    r = (struct prop_tsm_report)PROP_TSM_REPORT_INIT;
    return 0;
}
