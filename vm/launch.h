/* Start a VM, hear what it says until it ends, and leave nothing running. */
#ifndef PROP_VM_LAUNCH_H
#define PROP_VM_LAUNCH_H

#include "util/buf.h"
#include "util/err.h"
#include "vm/argv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROP_VM_RESULT_MAX (64u << 20) /* one result document: a workload's whole output, escaped */
#define PROP_VM_LINE_MAX (16u << 10)   /* a line of the log or console; longer ones are cut */

/* What the VM says; a callback that fails ends the VM, and with it prop_vm_launch. All bytes come from
 * the guest: not to be believed, and not fit for a terminal as they are. */
struct prop_vm_ears {
    /* console: bytes as they come; may be NULL */
    int (*console)(void *ctx, const void *data, size_t len, struct prop_err *err);
    /* one line of the log, without its end; may be NULL */
    int (*log)(void *ctx, const char *line, size_t len, struct prop_err *err);
    /* one line of the result channel: a JSON document, if the guest is what it should be; may be NULL */
    int (*result)(void *ctx, const char *line, size_t len, struct prop_err *err);
    void *ctx;
};

struct prop_vm_launch {
    const struct prop_argv *argv;
    const struct prop_vm_ears *ears;
    uint64_t timeout_ms;   /* 0 = for as long as it takes */
    uint64_t powerdown_ms; /* how long a guest may take to shut down when it is stopped; 0 = not asked */
};

/* How the guest says it went (vm/guestdir.h, PROP_GUEST_END_PREFIX). */
struct prop_vm_end {
    bool said;         /* the rest counts only then */
    int status;        /* 0 to 255 */
    char code[64];     /* of its error, printable; "" = none */
    char message[512];
    uint64_t uptime_ms; /* by the guest's clock */
    uint64_t wall_ms;   /* from the start of QEMU to its end; always there */
};

/* Start argv (of prop_vm_argv), wait for its end. However this returns, nothing is left running.
 * Fails: PROP_E_TIMEOUT (id "vm-timeout"); PROP_E_INTERRUPTED; PROP_E_EXISTS (id "port-in-use");
 * PROP_E_NOMEM (id "vm-memory") the host has not that much; PROP_E_IO (id "qemu-failed") QEMU refused
 * to start, with what it said, (id "vm-killed") it was killed from outside. A guest that just ends is
 * no failure here: see ret->said. */
int prop_vm_launch(const struct prop_vm_launch *l, struct prop_vm_end *ret, struct prop_err *err);

/* Choose the free ports that forwards ask for with 0, and see that the others are free.
 * Fails: PROP_E_EXISTS (id "port-in-use"), PROP_E_IO. */
int prop_vm_forwards_bind(struct prop_vm_forward *forwards, size_t n, struct prop_err *err);

/* Read a console line; fills ret and returns true when it is the guest's last word. Only a whole line
 * that begins as init's does is one: what the workload says is marked (vm/init.h). */
bool prop_vm_end_parse(const char *line, size_t len, struct prop_vm_end *ret);

#endif
