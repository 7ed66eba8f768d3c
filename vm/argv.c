#include "vm/argv.h"

#include "util/encode.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/text.h"
#include "vm/guestdir.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define MEMORY_MIN (128 * MIB) /* an initramfs and a module need that much */
#define CPUS_MAX 1024
#define SEV_POLICY_NO_DEBUG 1u /* attestation.md 5.9 */
#define SEV_POLICY_ES 4u
#define HOST_CID 2

/* ---- building ------------------------------------------------------------------------------- */

void prop_argv_release(struct prop_argv *a)
{
    for (size_t i = 0; i < a->n; i++)
        prop_free(a->items[i]);
    prop_free(a->items);
    *a = (struct prop_argv){ NULL, 0 };
}

struct builder {
    struct prop_argv argv;
    const struct prop_vm *vm;
    const struct prop_qemu *qemu;
    struct prop_err *err;
    int rc; /* the first failure; nothing is added after it */
};

static void take(struct builder *b, char *text)
{
    char **items = b->rc ? NULL : prop_realloc_array(b->argv.items, b->argv.n + 2, sizeof *items);

    if (!text || !items) {
        prop_free(text);
        b->rc = b->rc ? b->rc : prop_err_nomem(b->err);
        return;
    }
    items[b->argv.n++] = text;
    items[b->argv.n] = NULL;
    b->argv.items = items;
}

static void word(struct builder *b, const char *text)
{
    take(b, prop_strdup(text));
}

static void option(struct builder *b, const char *name, const char *value)
{
    word(b, name);
    word(b, value);
}

__attribute__((format(printf, 3, 4)))
static void optionf(struct builder *b, const char *name, const char *fmt, ...)
{
    char text[8192]; /* the longest is the ID auth block: 5464 characters of base64 */
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        b->rc = b->rc ? b->rc : prop_err_set_id(b->err, PROP_E_USAGE, "bad-text",
                                                "the value of %s is too long", name);
    option(b, name, text);
}

/* A path inside an option's list of values, where a comma is written twice. */
static const char *value_path(struct builder *b, const char *path, char out[2048])
{
    size_t n = 0;

    for (const char *c = path; *c && n < 2046; c++) {
        out[n++] = *c;
        if (*c == ',')
            out[n++] = ',';
    }
    if (n >= 2046)
        b->rc = b->rc ? b->rc : prop_err_set_id(b->err, PROP_E_USAGE, "bad-text",
                                                "the path '%.60s...' is too long", path);
    out[n < 2047 ? n : 2047] = 0;
    return out;
}

/* ---- the machine ---------------------------------------------------------------------------- */

static bool confidential(const struct prop_vm *vm)
{
    return vm->mode != PROP_VM_NONE;
}

static void base(struct builder *b)
{
    const struct prop_vm *vm = b->vm;

    word(b, b->qemu->program);
    optionf(b, "-name", "guest=%s,process=propcvm-%s,debug-threads=on", vm->name, vm->name);
    word(b, "-nodefaults");
    word(b, "-no-user-config");
    option(b, "-display", "none");
    word(b, "-no-reboot");
    if (b->qemu->sandbox)
        option(b, "-sandbox",
               "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    if (!confidential(vm))
        option(b, "-machine", "q35,smm=off");
    else
        optionf(b, "-machine", "q35,smm=off,confidential-guest-support=tee0,memory-backend=ram0%s",
                vm->mode == PROP_VM_TDX ? ",kernel-irqchip=split,hpet=off" : "");
    option(b, "-accel", vm->accel);
    option(b, "-cpu", vm->cpu);
    optionf(b, "-smp", "%u", vm->cpus);
    optionf(b, "-m", "%lluM", (unsigned long long)(vm->memory / MIB));
    if (confidential(vm))
        optionf(b, "-object", "memory-backend-memfd,id=ram0,size=%lluM,share=true,prealloc=false",
                (unsigned long long)(vm->memory / MIB));
}

static char *pin_b64(struct builder *b, size_t len)
{
    char *text = prop_b64_encode(PROP_B64_STD, b->vm->pin, len);

    if (!text)
        b->rc = prop_err_nomem(b->err);
    return text;
}

static void sev_object(struct builder *b)
{
    const unsigned es = b->vm->mode == PROP_VM_SEV_ES ? SEV_POLICY_ES : 0;

    optionf(b, "-object", "sev-guest,id=tee0,cbitpos=%u,reduced-phys-bits=1,policy=0x%x%s",
            b->vm->cbit, SEV_POLICY_NO_DEBUG | es, b->vm->kernel_hashes ? ",kernel-hashes=on" : "");
}

static void snp_object(struct builder *b)
{
    const struct prop_vm *vm = b->vm;
    prop_auto_free char *host_data = vm->pin ? pin_b64(b, 32) : NULL;

    optionf(b, "-object", "sev-snp-guest,id=tee0,cbitpos=%u,reduced-phys-bits=1,policy=0x%llx%s%s%s"
            "%s%s%s%s%s", vm->cbit,
            (unsigned long long)(vm->policy ? vm->policy : PROP_VM_SNP_POLICY),
            vm->kernel_hashes ? ",kernel-hashes=on" : "",
            host_data ? ",host-data=" : "", host_data ? host_data : "",
            vm->id_block ? ",id-block=" : "", vm->id_block ? vm->id_block : "",
            vm->id_auth ? ",id-auth=" : "", vm->id_auth ? vm->id_auth : "",
            vm->author_key ? ",author-key-enabled=on" : "");
}

/* JSON, because the address of the quote service is an object (attestation.md 6.6). */
static void tdx_object(struct builder *b)
{
    char port[12], cid[12];
    prop_auto_free char *config_id = b->vm->pin ? pin_b64(b, 48) : NULL;
    prop_auto_json json_t *o =
        json_pack("{s:s,s:s,s:b}", "qom-type", "tdx-guest", "id", "tee0", "sept-ve-disable", 1);
    int bad = 0;

    if (o && config_id)
        bad |= json_object_set_new(o, "mrconfigid", json_string(config_id));
    if (o && b->vm->quote_port) {
        (void)snprintf(port, sizeof port, "%u", b->vm->quote_port);
        (void)snprintf(cid, sizeof cid, "%d", HOST_CID);
        bad |= json_object_set_new(o, "quote-generation-socket",
                                   json_pack("{s:s,s:s,s:s}", "type", "vsock", "cid", cid, "port",
                                             port));
    }
    prop_auto_free char *text = o && !bad ? prop_json_compact(o) : NULL;
    if (!text)
        b->rc = b->rc ? b->rc : prop_err_nomem(b->err);
    else
        option(b, "-object", text);
}

static void tee_object(struct builder *b)
{
    switch (b->vm->mode) {
    case PROP_VM_NONE: return;
    case PROP_VM_SEV:
    case PROP_VM_SEV_ES: sev_object(b); return;
    case PROP_VM_SNP: snp_object(b); return;
    case PROP_VM_TDX: tdx_object(b); return;
    }
}

static void what_boots(struct builder *b)
{
    const struct prop_vm *vm = b->vm;

    if (vm->firmware)
        option(b, "-bios", vm->firmware);
    if (vm->kernel)
        option(b, "-kernel", vm->kernel);
    if (vm->kernel && vm->initrd)
        option(b, "-initrd", vm->initrd);
    if (vm->kernel && vm->append)
        option(b, "-append", vm->append);
}

/* ---- devices -------------------------------------------------------------------------------- */

/* Every virtio device: version 1 only; where memory is encrypted, through the IOMMU interface, which
 * makes the guest share what the device shall see and nothing else. */
static const char *virtio(const struct builder *b)
{
    return confidential(b->vm) ? ",disable-legacy=on,iommu_platform=on" : ",disable-legacy=on";
}

static void network(struct builder *b)
{
    char text[4096] = "user,id=net0,ipv6=off";
    size_t n = strlen(text);

    if (b->vm->dns)
        n += (size_t)snprintf(text + n, sizeof text - n, ",dns=%s", b->vm->dns);
    for (size_t i = 0; i < b->vm->n_forwards && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ",hostfwd=tcp:127.0.0.1:%u-:%u",
                              b->vm->forwards[i].host_port, b->vm->forwards[i].guest_port);
    if (n >= sizeof text)
        b->rc = b->rc ? b->rc : prop_err_set_id(b->err, PROP_E_USAGE, "bad-forward",
                                                "too many forwards");
    option(b, "-netdev", text);
    optionf(b, "-device", "virtio-net-pci,netdev=net0%s,romfile=", virtio(b));
}

static void port(struct builder *b, const char *id, int fd, const char *name)
{
    optionf(b, "-chardev", "socket,id=%s,fd=%d", id, fd);
    optionf(b, "-device", "virtserialport,chardev=%s,name=%s", id, name);
}

static void disks(struct builder *b)
{
    char path[2048];

    if (b->vm->disk) {
        optionf(b, "-drive", "if=none,id=disk0,format=qcow2,file=%s",
                value_path(b, b->vm->disk, path));
        optionf(b, "-device", "virtio-blk-pci,drive=disk0,bootindex=0%s", virtio(b));
    }
    if (b->vm->seed) {
        optionf(b, "-drive", "if=none,id=seed0,format=raw,readonly=on,file=%s",
                value_path(b, b->vm->seed, path));
        optionf(b, "-device", "virtio-blk-pci,drive=seed0%s", virtio(b));
    }
}

static void devices(struct builder *b)
{
    char path[2048];

    network(b);
    if (!confidential(b->vm)) {
        option(b, "-object", "rng-builtin,id=rng0");
        optionf(b, "-device", "virtio-rng-pci,rng=rng0%s", virtio(b));
    }
    if (b->vm->vsock_cid)
        optionf(b, "-device", "vhost-vsock-pci,guest-cid=%u%s", b->vm->vsock_cid, virtio(b));
    optionf(b, "-device", "virtio-serial-pci,id=ports0%s", virtio(b));
    port(b, "result0", PROP_VM_FD_RESULT, PROP_SERIAL_RESULT);
    port(b, "log0", PROP_VM_FD_LOG, PROP_SERIAL_LOG);
    disks(b);
    for (size_t i = 0; i < b->vm->n_files; i++)
        optionf(b, "-fw_cfg", "name=%s,file=%s", b->vm->files[i].name,
                value_path(b, b->vm->files[i].path, path));
    option(b, "-serial", "stdio");
    optionf(b, "-chardev", "socket,id=qmp0,fd=%d", PROP_VM_FD_QMP);
    option(b, "-mon", "chardev=qmp0,mode=control");
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Four decimal numbers; nothing else may stand in an option's list of values. */
static bool is_ipv4(const char *text)
{
    unsigned a = 256, b = 256, c = 256, d = 256;
    int n = 0;

    return strspn(text, "0123456789.") == strlen(text) &&
           sscanf(text, "%3u.%3u.%3u.%3u%n", &a, &b, &c, &d, &n) == 4 && !text[n] && a < 256 &&
           b < 256 && c < 256 && d < 256;
}

static int check(const struct prop_vm *vm, struct prop_err *err)
{
    if (vm->memory < MEMORY_MIN || vm->memory % MIB)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-memory",
                               "a guest's memory is whole MiB, at least %llu",
                               (unsigned long long)(MEMORY_MIN / MIB));
    if (vm->cpus < 1 || vm->cpus > CPUS_MAX)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-cpus", "a guest has 1 to %d processors",
                               CPUS_MAX);
    if (vm->dns && !is_ipv4(vm->dns))
        return prop_err_set_id(err, PROP_E_USAGE, "bad-dns", "'%s' is no IPv4 address", vm->dns);
    return prop_guest_name_check(vm->name, err);
}

int prop_vm_argv(const struct prop_vm *vm, const struct prop_qemu *q, struct prop_argv *ret,
                 struct prop_err *err)
{
    struct builder b = { { NULL, 0 }, vm, q, err, check(vm, err) };

    if (b.rc)
        return b.rc;
    base(&b);
    tee_object(&b);
    what_boots(&b);
    devices(&b);
    for (size_t i = 0; i < vm->n_extra; i++)
        word(&b, vm->extra[i]);
    if (b.rc) {
        prop_argv_release(&b.argv);
        return b.rc;
    }
    *ret = b.argv;
    return 0;
}
