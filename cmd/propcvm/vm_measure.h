/* Between the files of `vm measure`: what the command line asks for, the inputs it names, and the
 * measurement document that the formats and the check are made from. */
#ifndef PROP_CMD_PROPCVM_VM_MEASURE_H
#define PROP_CMD_PROPCVM_VM_MEASURE_H

#include "cmd/cli/cli.h"
#include "tee/idblock.h"
#include "tee/initdata.h"
#include "tee/ovmf.h"
#include "tee/rtmr.h"
#include "tee/source.h"
#include "tee/vmsa.h"
#include "util/buf.h"
#include "vm/guestdir.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm_measure_opts {
    const char *mode, *firmware, *kernel, *initrd, *append, *init_data, *name, *vmm, *format;
    struct prop_strs vcpus, types, features, profiles;
    uint64_t memory;
    const char *mrtd_order;
    const char *table_loader, *rsdp, *tables;
    const char *id_block, *id_auth, *id_key, *author_key, *family_id, *image_id, *policy;
    uint64_t guest_svn;
    const char *check, *ccel;
    bool force;
};

enum vm_measure_mode { VM_MEASURE_SNP, VM_MEASURE_SEV, VM_MEASURE_SEV_ES, VM_MEASURE_TDX };

#define VM_MEASURE_VCPUS_MAX 4096u  /* of one guest */
#define VM_MEASURE_VALUES_MAX 4096u /* of one run */

struct vm_measure {
    struct prop_cli *cli;
    const struct vm_measure_opts *o;
    enum vm_measure_mode mode;
    enum prop_vmm vmm;
    struct prop_guestdir guest;         /* json NULL: files are named one by one */
    const char *name, *append;          /* borrowed; may be NULL */
    struct prop_buf firmware;
    struct prop_ovmf fw;
    struct prop_source kernel, initrd;
    bool has_kernel, has_initrd, has_init, has_acpi;
    char release[64];                   /* of the kernel; "" = unknown */
    bool silent_stub;                   /* tdx: the kernel measures neither command line nor initrd */
    struct prop_source acpi[3];         /* table-loader, rsdp, tables */
    struct prop_initdata init;
    unsigned *vcpus;
    size_t n_vcpus;
    struct prop_cpu_model *types;
    size_t n_types;
    uint64_t *features;
    size_t n_features;
    struct prop_rtmr_profile *profiles;
    size_t n_profiles;
    json_t *doc, *unmeasured, *warnings; /* owned; the last two are borrowed from doc */
};
#define VM_MEASURE_INIT                                                                            \
    { .guest = PROP_GUESTDIR_INIT, .firmware = PROP_BUF_INIT(PROP_OVMF_MAX),                       \
      .kernel = PROP_SOURCE_INIT, .initrd = PROP_SOURCE_INIT,                                      \
      .acpi = { PROP_SOURCE_INIT, PROP_SOURCE_INIT, PROP_SOURCE_INIT } }

/* vm_measure_inputs.c: check the options (m->o) and open what they name. */
int vm_measure_open(struct vm_measure *m, struct prop_err *err);
void vm_measure_release(struct vm_measure *m);
#define vm_auto_measure __attribute__((cleanup(vm_measure_release)))
const char *vm_measure_mode_name(enum vm_measure_mode mode);
/* Say on stderr and in the document what the user should know, or what the digests do not cover. */
int vm_measure_warn(struct vm_measure *m, struct prop_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int vm_measure_leave_out(struct vm_measure *m, struct prop_err *err, const char *what);

/* vm_measure_lists.c: "1,2,4-8" and its like, out of repeated options. */
int vm_measure_lists(struct vm_measure *m, struct prop_err *err);

/* vm_measure_sev.c, vm_measure_tdx.c: fill m->doc. */
int vm_measure_sev(struct vm_measure *m, struct prop_err *err);
int vm_measure_tdx(struct vm_measure *m, struct prop_err *err);
/* Append {"name" or "profile": NAME, "value": HEX} to a list. */
json_t *vm_measure_value(const char *key, const char *name, const void *bytes, size_t len);

/* vm_measure_id.c: --id-block and --id-auth for the one digest of the document. */
int vm_measure_id(struct vm_measure *m, struct prop_err *err);

/* vm_measure_print.c: the document as --format wants it. */
int vm_measure_check_format(const struct vm_measure_opts *o, struct prop_err *err);
int vm_measure_print(struct vm_measure *m, struct prop_err *err);

/* vm_measure_check.c: compare the document with evidence, and print that. Sets exit status 1 when they
 * differ. */
struct prop_tee_fields;
int vm_measure_check(struct vm_measure *m, struct prop_err *err);
/* Compare bytes of evidence with a member of the document, when it has it: its name goes to out's
 * "compared", a difference {"what","expected","got"} to "differences", the name of the value that fits
 * to "value". *ret_same is false only where they differ. */
int vm_measure_compare(const struct vm_measure *m, const char *member, const void *got, size_t len,
                       json_t *out, bool *ret_same, struct prop_err *err);
/* vm_measure_near.c: which neighbour of the launch gives this digest: its options ("--vcpus 2") go to
 * out's "this_is". */
int vm_measure_near_snp(struct vm_measure *m, const struct prop_tee_fields *f, json_t *out,
                        struct prop_err *err);
/* vm_measure_check_tdx.c: the registers and the log of a TD; members go into `out`. */
int vm_measure_check_tdx(struct vm_measure *m, struct prop_tee_fields *f, json_t *out,
                         struct prop_err *err);

#endif
