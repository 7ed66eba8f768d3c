/* What /proc tells of a process: for the metrics of tasks and of the service itself. */
#ifndef PROP_GUEST_PROCSTAT_H
#define PROP_GUEST_PROCSTAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct prop_procstat {
    double user_s, system_s;     /* processor time so far */
    uint64_t rss_bytes;
    uint64_t read_bytes, write_bytes;
    uint64_t threads, descriptors;
};
/* What cannot be read stays 0; false when there is no such process. */
bool prop_procstat_read(pid_t pid, struct prop_procstat *ret);
/* The machine's memory in bytes; 0 when it cannot be told. */
uint64_t prop_procstat_total_memory(void);
/* What the control group of this process uses and may use, in bytes; 0 = not known, no limit. */
void prop_procstat_container(uint64_t *ret_usage, uint64_t *ret_limit);

#endif
