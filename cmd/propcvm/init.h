/* The two halves of `propcvm init`: PID 1, which only waits, and the child that does the work. */
#ifndef PROP_CMD_PROPCVM_INIT_H
#define PROP_CMD_PROPCVM_INIT_H

#include "util/err.h"
#include "util/json.h"

#include <stdbool.h>
#include <stdint.h>

/* Is this process the first one of a machine that was booted from our image? */
bool propcvm_is_init(int argc, char *const *argv);

/* How it ended, for the end line and the report to the host. */
struct propcvm_end {
    int status;       /* of the workload, or of our own failure */
    struct prop_err why;
    char code[64];    /* the workload's own error code, in place of why's; "" = none */
    json_t *phases;   /* {"init_ms","modules_ms",...}: milliseconds since power-on; owned */
    json_t *result;   /* the result document of `run`, or NULL; owned */
};
/* Set the machine up, run what is to be run, tell the host. Always fills `end`. */
void propcvm_init_work(struct propcvm_end *end);

/* {"status","error","uptime_ms","phases"}; owned. */
json_t *propcvm_end_doc(const struct propcvm_end *end);

#endif
