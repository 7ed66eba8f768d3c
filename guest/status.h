/* GET /metrics and GET /health for this machine only: one thread, one request per connection, with
 * small limits. Not a web server. */
#ifndef PROP_GUEST_STATUS_H
#define PROP_GUEST_STATUS_H

#include "util/buf.h"
#include "util/err.h"

#include <stdbool.h>

struct prop_status_config {
    const char *listen; /* "127.0.0.1:9092", "[::1]:0"; port 0 picks one */
    /* The text of /metrics, and of /health with whether all is well. */
    int (*metrics)(void *ctx, struct prop_buf *out, struct prop_err *err);
    int (*health)(void *ctx, struct prop_buf *out, bool *ret_well, struct prop_err *err);
    void *ctx;
};

struct prop_status;
/* Fails: PROP_E_USAGE (id "listen") malformed, (id "listen-not-loopback") other machines could reach
 * it; PROP_E_NETWORK (id "listen") the port is taken. */
int prop_status_start(const struct prop_status_config *config, struct prop_status **ret,
                      struct prop_err *err);
/* "127.0.0.1:9092", with the real port; borrowed. */
const char *prop_status_where(const struct prop_status *s);
void prop_status_stop(struct prop_status *s);

#endif
