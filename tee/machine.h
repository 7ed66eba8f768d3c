/* Where this machine keeps its signs of a TEE, and the calls that reach its hardware. Tests name
 * folders and calls of their own. */
#ifndef PROP_TEE_MACHINE_H
#define PROP_TEE_MACHINE_H

#include "tee/evidence.h"

#include <stdbool.h>
#include <stdint.h>

/* What cannot be played by files. Failing calls return -1 with errno, as the kernel's do. */
struct prop_tee_calls {
    int (*open)(const char *path);                           /* a device: descriptor */
    int (*close)(int fd);
    int (*ioctl)(int fd, unsigned long code, void *arg);
    int (*read_msr)(const char *path, uint32_t msr, uint64_t *ret);
    bool (*cpuid)(uint32_t leaf, uint32_t ret[4]);           /* EAX to EDX; false: no such processor */
    bool (*is_configfs)(const char *path);                   /* mounted there? */
    int (*connect_host)(unsigned port);                      /* vsock: descriptor, silent for 30 s at most */
    void (*pause)(unsigned ms);
};
extern const struct prop_tee_calls prop_tee_real_calls;

struct prop_tee_machine {
    const char *tsm_root;     /* configfs-tsm reports */
    const char *sev_guest;    /* device nodes */
    const char *tdx_guest;
    const char *ccel;         /* firmware event log */
    const char *aael;         /* runtime events; their file is made when the first one is written */
    const char *sev_platform; /* the platform device that sev-guest drives */
    const char *measurements; /* folder of a TD's registers (Linux 6.16) */
    const char *configfs;     /* mount point */
    const char *cpuinfo;
    const char *msr;          /* model specific registers of one processor */
    const struct prop_tee_calls *calls; /* NULL = the real ones */
};

/* The machine we run on: the kernel's paths, and the event log that AAEL_PATH names (default
 * /run/attestation-agent/eventlog). The kind of TEE is never taken from the environment. */
struct prop_tee_machine prop_tee_machine_here(void);

static inline const struct prop_tee_calls *prop_tee_calls_of(const struct prop_tee_machine *m)
{
    return m->calls ? m->calls : &prop_tee_real_calls;
}

/* As prop_tee_choose, prop_tee_evidence and prop_tee_check_init_data, on a machine of one's choice. */
int prop_tee_choose_on(const struct prop_tee_machine *m, const char *wish, enum prop_tee *ret,
                       struct prop_err *err);
int prop_tee_evidence_on(const struct prop_tee_machine *m, const struct prop_tee_ask *ask,
                         struct prop_tee_answer *ret, struct prop_err *err);
int prop_tee_check_init_data_on(const struct prop_tee_machine *m, enum prop_tee tee,
                                const struct prop_initdata *init_data, struct prop_err *err);

#endif
