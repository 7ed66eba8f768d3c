/* The server's life: open the folder, listen, serve until told to stop. */
#include "kbsd/kbsd.h"

#include "kbsd/http.h"
#include "kbsd/state.h"
#include "util/stop.h"
#include "util/text.h"

#define WAIT_MS 250           /* longest time until a stop is noticed without its signal */
#define PURGE_EVERY_MS 60000u /* sessions that are over, as the real server */

int prop_kbsd_serve(const struct prop_kbsd_config *c, void (*ready)(void *ctx, const char *url),
                    void *ctx, struct prop_err *err)
{
    prop_auto_kbsd struct prop_kbsd *k = NULL;
    prop_auto_kbsd_http struct prop_kbsd_http *http = NULL;
    prop_auto_free char *url = NULL;
    uint64_t purged_ms = prop_now_ms();

    int rc = prop_kbsd_open(c, &k, err);
    if (rc == 0)
        rc = prop_kbsd_http_start(k, &http, &url, err);
    if (rc != 0)
        return rc;
    if (ready != NULL)
        ready(ctx, url);
    while (rc == 0 && !prop_stop_requested()) {
        rc = prop_kbsd_http_run(http, WAIT_MS, err);
        if (rc == 0 && prop_now_ms() - purged_ms >= PURGE_EVERY_MS) {
            purged_ms = prop_now_ms();
            rc = prop_kbsdb_session_purge(k->db, (int64_t)prop_wall_time(), err);
        }
    }
    return rc;
}
