/* The progress line: how far, how fast, how long still. The arithmetic and the text; drawing is
 * output.c's. */
#ifndef PROP_CMD_CLI_PROGRESS_H
#define PROP_CMD_CLI_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

/* A moving average of the rate. Zero it to begin. */
struct prop_rate {
    uint64_t last_ms, last_done, total;
    uint64_t begun_ms;
    double bytes_per_s; /* 0 = not known yet */
};

/* `done` of `total` (0 = unknown) at `now_ms`. A smaller `done` or another `total` is another piece
 * of work: the average begins anew. */
void prop_rate_add(struct prop_rate *r, uint64_t now_ms, uint64_t done, uint64_t total);

/* The line, at most `columns` - 1 characters of ASCII, into `out`; returns out. With a total:
 * "read  [#####.....]  50%  512.0 MiB/1.0 GiB  480.2 MiB/s  0:01 left"; the bar, then the words,
 * give way in a narrow terminal. */
const char *prop_progress_line(const struct prop_rate *r, const char *what, uint64_t done,
                               uint64_t total, size_t columns, char *out, size_t size);

#endif
