/* Inside the guest: what PID 1 does before it starts `run` or `serve`, in small independent parts. They
 * work on the machine they run on; only `propcvm init` calls them. */
#ifndef PROP_VM_INIT_H
#define PROP_VM_INIT_H

#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"
#include "util/secret.h"
#include "vm/guestconf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Milliseconds since the machine started (CLOCK_BOOTTIME). */
uint64_t prop_init_uptime_ms(void);

/* ---- init_mounts.c ---- */
/* /dev, /proc, /sys, /run, /tmp; standard descriptors on /dev/console. Fine where they are mounted.
 * Fails: PROP_E_IO (id "init-mount"). */
int prop_init_mounts(struct prop_err *err);
/* configfs, once its module is there. A kernel without it: nothing is done. */
void prop_init_configfs(void);
/* No core dumps, no sysrq, no kexec, no further modules, nothing of the kernel's shown. What this
 * kernel does not have is passed over. */
void prop_init_harden(void);

/* ---- init_modules.c ---- */
/* Load the modules image.json lists, in order. One that finds no hardware is passed over; one that
 * every guest needs is not. Fails: PROP_E_IO (id "init-module"). */
int prop_init_modules(const json_t *modules, struct prop_err *err);

/* ---- init_fwcfg.c ---- */
/* What the host put there under that name ("opt/..."), or PROP_E_NOTFOUND (id "no-fw-cfg"). */
int prop_init_fwcfg(const char *name, struct prop_buf *out, struct prop_err *err);
/* The same into guarded memory. */
int prop_init_fwcfg_secret(const char *name, size_t max, struct prop_secret **ret,
                           struct prop_err *err);

/* ---- init_net.c ---- */
struct prop_lease {
    char interface[16];
    uint32_t address, mask, gateway, server; /* network byte order; gateway 0 = none */
    uint32_t dns[3];
    size_t n_dns;
    uint32_t seconds;                        /* how long it holds; 0 = for ever */
};
/* Loopback up; wait for an interface, then DHCP or the fixed address; /run/resolv.conf.
 * Fails: PROP_E_NETWORK (id "no-interface", "no-dhcp"), PROP_E_IO (id "init-network"). */
int prop_init_network(const struct prop_guest_conf *conf, uint64_t timeout_ms,
                      struct prop_lease *ret, struct prop_err *err);
/* For a guest that stays: renew the lease at half its time, for ever. Never returns; a child's job. */
void prop_init_keep_lease(struct prop_lease lease) __attribute__((noreturn));

/* ---- init_report.c ---- */
/* A way to the host that is not the console: vsock, else a virtio-serial port. */
enum prop_report_to { PROP_REPORT_RESULT, PROP_REPORT_LOG };
/* A descriptor to write to, or PROP_E_UNSUPPORTED (id "no-report") where the VM has neither. */
int prop_init_report_open(enum prop_report_to what, uint64_t timeout_ms, int *ret_fd,
                          struct prop_err *err);

/* ---- init_console.c ---- */
/* Log text of the workload, a piece at a time: each line is marked, control characters are blanks
 * (in `data` too). `mid`: false at first, then whether the last line is unfinished. */
void prop_init_console_log(int fd, bool *mid, char *data, size_t len);
/* The workload's result, whole: as it is, but a line that begins like one of init's own is marked. Ends
 * with a line feed. */
void prop_init_console_result(int fd, char *data, size_t len);

/* ---- init_power.c ---- */
/* The machine's power button, or -1 where there is none. */
int prop_init_power_open(void);
/* Was it pressed since this was asked last? Does not wait. */
bool prop_init_power_pressed(int fd);

/* ---- init_child.c ---- */
#define PROP_INIT_RESULT_MAX (64u << 20)
#define PROP_INIT_TAIL 4096
struct prop_init_child {
    char *const *argv, *const *env; /* this program is started anew with them; NULL-ended */
    int log_fd, console_fd;         /* its standard error goes to both; -1 = not */
    int power_fd;                   /* of prop_init_power_open: pressed, the program gets SIGTERM; -1 = none */
    bool keep_out;                  /* its standard output is kept in `out`, else treated as errors are */
    struct prop_buf out;            /* filled */
    char tail[PROP_INIT_TAIL];      /* the last of its standard error, ended by 0; filled */
    int status;                     /* as waitpid gives it; filled */
    bool console_mid;               /* the console stands within a line */
};
/* Start it and stay with it to its end. Fails: PROP_E_IO (id "init-child"), PROP_E_LIMIT too much
 * output. */
int prop_init_child_run(struct prop_init_child *c, struct prop_err *err);

#endif
