/* What a VM is given: everything of a plan that comes from files and repeated options. */
#include "vm/plan_internal.h"

#include "tee/idblock.h"
#include "tee/initdata.h"
#include "util/encode.h"
#include "util/file.h"
#include "util/mem.h"
#include "util/text.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

/* ---- forwards and files --------------------------------------------------------------------- */

static int forwards(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    int rc = 0;

    if (w->n_forwards == 0)
        return 0;
    p->forwards = prop_realloc_array(NULL, w->n_forwards, sizeof *p->forwards);
    if (!p->forwards)
        return prop_err_nomem(err);
    for (size_t i = 0; rc == 0 && i < w->n_forwards; i++)
        rc = prop_vm_forward_parse(w->forwards[i], &p->forwards[i], err);
    p->vm.forwards = p->forwards;
    p->vm.n_forwards = w->n_forwards;
    return rc;
}

static int add_file(struct prop_vm_plan *p, const char *prefix, const char *name, size_t len,
                    const char *path, struct prop_err *err)
{
    struct prop_vm_file *f = &p->files[p->vm.n_files];

    if (access(path, R_OK))
        return prop_err_sys(err, PROP_E_NOTFOUND, "read '%s'", path);
    f->name = prop_asprintf("%s%.*s", prefix, (int)len, name);
    f->path = prop_strdup(path);
    p->vm.n_files++; /* counted also when half made: it is freed */
    return f->name && f->path ? 0 : prop_err_nomem(err);
}

/* Only what the measured image was built to take from the host. */
static bool is_wanted(const struct prop_vm_plan *p, const char *name, size_t len)
{
    size_t i = 0;
    const json_t *s = NULL;

    json_array_foreach(p->guest.secrets_from_host, i, s)
        if (strlen(json_string_value(s)) == len && strncmp(json_string_value(s), name, len) == 0)
            return true;
    return false;
}

static int hand_over(const char *text, struct prop_vm_plan *p, struct prop_err *err)
{
    const char *eq = strchr(text, '=');

    if (!eq || eq == text || !eq[1])
        return prop_err_set_id(err, PROP_E_USAGE, "bad-hand-over", "'%s' is not NAME=FILE", text);
    if (p->is_distro || !is_wanted(p, text, (size_t)(eq - text))) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "secret-not-wanted",
                              "this guest takes no secret '%.*s' from the host", (int)(eq - text), text);
        return prop_err_hint(err, "it says so when it is built: vm build --secret-from-host");
    }
    prop_plan_note(p, PROP_VM_WARNING, "the secret '%.*s' is handed over by this host, which can read it",
                   (int)(eq - text), text);
    return add_file(p, PROP_FWCFG_SECRET_PREFIX, text, (size_t)(eq - text), eq + 1, err);
}

/* A guest that waits for a secret nobody gives it would only say so after its boot. */
static void say_missing(const struct prop_vm_wish *w, struct prop_vm_plan *p)
{
    size_t i = 0;
    const json_t *s = NULL;

    json_array_foreach(p->guest.secrets_from_host, i, s) {
        const char *name = json_string_value(s);
        bool given = false;
        for (size_t k = 0; k < w->n_hand_over; k++)
            given = given || (strncmp(w->hand_over[k], name, strlen(name)) == 0 &&
                              w->hand_over[k][strlen(name)] == '=');
        if (!given)
            prop_plan_note(p, PROP_VM_WARNING, "this guest takes the secret '%s' from the host: "
                           "--hand-over %s=FILE", name, name);
    }
}

static int files(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    int rc = 0;

    say_missing(w, p);

    p->files = prop_zalloc((w->n_hand_over + 1) * sizeof *p->files);
    if (!p->files)
        return prop_err_nomem(err);
    p->vm.files = p->files;
    if (p->guest.init_data)
        rc = add_file(p, PROP_FWCFG_INIT_DATA, "", 0, p->guest.init_data, err);
    for (size_t i = 0; rc == 0 && i < w->n_hand_over; i++)
        rc = hand_over(w->hand_over[i], p, err);
    return rc;
}

/* ---- what the launch binds ------------------------------------------------------------------ */

static int pin(struct prop_vm_plan *p, struct prop_err *err)
{
    prop_auto_buf struct prop_buf text = PROP_BUF_INIT(PROP_TEE_INITDATA_MAX);
    struct prop_initdata d;

    if (!p->guest.init_data || (p->vm.mode != PROP_VM_SNP && p->vm.mode != PROP_VM_TDX))
        return 0;
    int rc = prop_file_read(p->guest.init_data, &text, err);
    if (rc == 0)
        rc = prop_initdata_read(text.data, text.len, p->guest.init_data, &d, err);
    if (rc)
        return rc;
    if (p->vm.mode == PROP_VM_SNP)
        memcpy(p->pin, d.host_data, sizeof d.host_data);
    else
        memcpy(p->pin, d.mr_config_id, sizeof d.mr_config_id);
    p->vm.pin = p->pin;
    return 0;
}

/* A file of `len` bytes, raw or as base64 text, as base64 and as bytes. */
static int read_block(const char *path, size_t len, char **ret, uint8_t *ret_bytes,
                      struct prop_err *err)
{
    prop_auto_buf struct prop_buf in = PROP_BUF_INIT(64u << 10);
    prop_auto_buf struct prop_buf raw = PROP_BUF_INIT(64u << 10);
    int rc = prop_file_read(path, &in, err);

    if (rc)
        return rc;
    while (in.len != len && in.len > 0 && isspace(in.data[in.len - 1]))
        in.len--;
    if (in.len == len)
        rc = prop_buf_add(&raw, in.data, in.len, err);
    else
        rc = prop_b64_decode(PROP_B64_STD, (const char *)in.data, in.len, path, &raw, err);
    if (rc == PROP_E_INPUT || (rc == 0 && raw.len != len)) {
        return prop_err_set_id(err, PROP_E_INPUT, "bad-id-block",
                               "'%s' is not %zu bytes, raw or in base64", path, len);
    }
    if (rc)
        return rc;
    memcpy(ret_bytes, raw.data, len);
    *ret = prop_b64_encode(PROP_B64_STD, raw.data, raw.len);
    return *ret ? 0 : prop_err_nomem(err);
}

#define POLICY_AT 88         /* in the ID block (attestation.md 5.8) */
#define AUTHOR_KEY_AT (0x680 + 512) /* in the ID auth: behind the id key's signature */
#define AUTHOR_KEY_LEN 1028

static int id_block(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    uint8_t block[PROP_ID_BLOCK], auth[PROP_ID_AUTH];

    if (!w->id_block && !w->id_auth)
        return 0;
    if (!w->id_block || !w->id_auth || p->vm.mode != PROP_VM_SNP)
        return prop_err_set_id(err, PROP_E_USAGE, "bad-id-block",
                               "--id-block and --id-auth go together, and with mode snp");
    int rc = read_block(w->id_block, sizeof block, &p->id_block, block, err);
    if (rc == 0)
        rc = read_block(w->id_auth, sizeof auth, &p->id_auth, auth, err);
    if (rc)
        return rc;
    p->vm.id_block = p->id_block;
    p->vm.id_auth = p->id_auth;
    p->vm.policy = 0; /* the launch must ask for the very policy that was signed */
    for (size_t i = 8; i-- > 0;)
        p->vm.policy = p->vm.policy << 8 | block[POLICY_AT + i];
    for (size_t i = 0; i < AUTHOR_KEY_LEN; i++)
        p->vm.author_key = p->vm.author_key || auth[AUTHOR_KEY_AT + i] != 0;
    return 0;
}

/* ---- the user's own arguments --------------------------------------------------------------- */

static int own_arguments(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    static const char *const refused[] = { "-daemonize", "--daemonize", "-runas", "--runas",
                                           "-run-with", "--run-with", "-chroot", "--chroot" };

    if (w->n_qemu_args == 0)
        return 0;
    if (p->vm.mode != PROP_VM_NONE && !w->allow_qemu_args) {
        (void)prop_err_set_id(err, PROP_E_USAGE, "qemu-args-confidential",
                              "--qemu-arg can weaken or change a confidential guest");
        return prop_err_hint(err, "--allow-qemu-args says that this is meant");
    }
    for (size_t i = 0; i < w->n_qemu_args; i++)
        for (size_t k = 0; k < PROP_ARRAY_LEN(refused); k++)
            if (strcmp(w->qemu_args[i], refused[k]) == 0)
                return prop_err_set_id(err, PROP_E_USAGE, "bad-qemu-arg",
                                       "with '%s' the VM could not be watched and ended", refused[k]);
    p->vm.extra = w->qemu_args;
    p->vm.n_extra = w->n_qemu_args;
    return 0;
}

int prop_plan_inputs(const struct prop_vm_wish *w, struct prop_vm_plan *p, struct prop_err *err)
{
    int rc = forwards(w, p, err);

    if (rc == 0)
        rc = files(w, p, err);
    if (rc == 0)
        rc = pin(p, err);
    if (rc == 0)
        rc = id_block(w, p, err);
    return rc ? rc : own_arguments(w, p, err);
}
