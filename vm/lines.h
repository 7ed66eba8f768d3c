/* Lines out of a stream of pieces, each line at most so long. */
#ifndef PROP_VM_LINES_H
#define PROP_VM_LINES_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>
#include <stddef.h>

struct prop_lines {
    struct prop_buf line; /* the one that is being read */
    bool cut;             /* more came than its maximum */
};
#define PROP_LINES_INIT(maximum) { PROP_BUF_INIT(maximum), false }

/* What to do with a line: without its "\n" or "\r\n", a 0 byte behind it. `cut`: it was longer. */
typedef int prop_line_fn(void *ctx, const char *line, size_t len, bool cut, struct prop_err *err);

int prop_lines_feed(struct prop_lines *l, const void *data, size_t len, prop_line_fn *fn, void *ctx,
                    struct prop_err *err);
/* The end of the stream: what stands there without a line feed is a line too. */
int prop_lines_end(struct prop_lines *l, prop_line_fn *fn, void *ctx, struct prop_err *err);
void prop_lines_release(struct prop_lines *l);

#endif
